//! The unit of work: entities as events of one partition see and change them, before anything is committed.
//!
//! Processors run outside any transaction. Each event works on an overlay of its own, `EventChanges`; when it succeeds, the
//! overlay is merged whole into the partition's `Unit`, and when it fails, panics or times out it is dropped. A row
//! that an event read must still have the version that it read when the overlay is merged, else the event runs again.

mod changed;
mod isolate;
mod lookups;

use std::{
    any::{Any, TypeId},
    task::Waker,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::changed::AnyChanged;
pub(crate) use self::changed::{Changed, Merge};
pub(crate) use self::lookups::{LookupFailure, Lookups};
use crate::{
    model::OutgoingRecord,
    store::{
        Entity, EntityType,
        loaded::{AnySet, Set, typed_set},
    },
};

/// What one event has read, written and emitted.
#[derive(Default)]
pub(crate) struct EventChanges {
    types: Mutex<Vec<(TypeId, Box<dyn AnyChanged>)>>,
    emitted: Mutex<Vec<OutgoingRecord>>,
    /// How long it has waited for rows.
    pub(crate) lookups: Lookups,
}

impl EventChanges {
    /// Adds the record that `make` makes for its number among those of this event.
    pub(crate) fn emit<E>(&self, make: impl FnOnce(usize) -> Result<OutgoingRecord, E>) -> Result<(), E> {
        let mut emitted = self.emitted.lock();
        let record = make(emitted.len())?;
        emitted.push(record);
        Ok(())
    }

    /// What the event has emitted, once it has succeeded.
    pub(crate) fn take_emitted(&self) -> Vec<OutgoingRecord> {
        std::mem::take(&mut *self.emitted.lock())
    }

    pub(crate) fn with<T: Entity, R>(&self, work: impl FnOnce(&mut Changed<T>) -> R) -> R {
        let mut types = self.types.lock();
        let wanted = TypeId::of::<T>();
        let place = types.iter().position(|(known, _)| *known == wanted).unwrap_or_else(|| {
            types.push((wanted, Box::new(Changed::<T>::default())));
            types.len() - 1
        });
        let changed: &mut dyn Any = types[place].1.as_mut();
        #[expect(clippy::expect_used, reason = "the entry was found or made under this very type")]
        work(changed.downcast_mut().expect("an overlay is kept under its own type"))
    }
}

/// What the events of one partition, since its last commit, have read and merged.
///
/// It lives as long as the partition is assigned, so that an event which outlasts its batch still has one to ask.
pub(crate) struct Unit {
    state: Mutex<UnitState>,
    asked: Notify,
}

struct UnitState {
    /// One for each entity type that the program declares: nothing else is ever loaded or saved.
    sets: Vec<(TypeId, Box<dyn AnySet>)>,
    waiting: Vec<Waker>,
}

impl UnitState {
    fn set(&mut self, wanted: TypeId) -> Option<&mut dyn AnySet> {
        let (_, set) = self.sets.iter_mut().find(|(known, _)| *known == wanted)?;
        Some(set.as_mut())
    }
}

impl Unit {
    /// An empty unit for entities of these types.
    pub(crate) fn new(entities: &[EntityType]) -> Self {
        let sets = entities.iter().map(|entity| (entity.type_id, (entity.new_set)())).collect();
        Self { state: Mutex::new(UnitState { sets, waiting: Vec::new() }), asked: Notify::new() }
    }

    /// Works on the set of a type; `None` where the program does not declare it.
    pub(crate) fn with_set<T: Entity, R>(&self, work: impl FnOnce(&mut Set<T>) -> R) -> Option<R> {
        let mut state = self.state.lock();
        state.set(TypeId::of::<T>()).map(|set| work(typed_set(set)))
    }

    pub(crate) fn wait_for_load(&self, waker: &Waker) {
        self.state.lock().waiting.push(waker.clone());
        self.asked.notify_one();
    }

    /// Returns when a look-up has asked for a row that is not loaded.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Notes which entities will probably be asked for: those whose ids are the batch's Kafka keys.
    pub(crate) fn prefetch(&self, entity: EntityType, keys: &mut dyn Iterator<Item = &[u8]>) {
        let ids = (entity.ids_of_keys)(keys);
        if let Some(set) = self.state.lock().set(entity.type_id) {
            set.want_all(ids);
        }
    }

    /// Takes what is to be loaded, by entity type: a `Vec<T::Id>` each.
    pub(crate) fn take_wanted(&self, entities: &[EntityType]) -> Vec<(EntityType, Box<dyn Any + Send>)> {
        let mut state = self.state.lock();
        let mut wanted = Vec::new();
        for entity in entities {
            if let Some((_, set)) = state.sets.iter_mut().find(|(known, _)| *known == entity.type_id)
                && let Some(ids) = set.take_wanted()
            {
                wanted.push((*entity, ids));
            }
        }
        wanted
    }

    /// Takes in loaded rows, a `Vec<Row<T>>` for each type; what was wanted and is not among them does not exist.
    pub(crate) fn loaded(&self, rows: Vec<(EntityType, Box<dyn Any + Send>)>) {
        let waiting = {
            let mut state = self.state.lock();
            for (entity, rows) in rows {
                if let Some(set) = state.set(entity.type_id) {
                    set.fill(rows);
                    set.close();
                }
            }
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// The same for parts of what was asked for; what is in none of them does not exist.
    fn filled(&self, rows: Vec<(EntityType, Box<dyn Any + Send>)>, entities: &[EntityType]) {
        let waiting = {
            let mut state = self.state.lock();
            for (entity, rows) in rows {
                if let Some(set) = state.set(entity.type_id) {
                    set.fill(rows);
                }
            }
            for entity in entities {
                if let Some(set) = state.set(entity.type_id) {
                    set.close();
                }
            }
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    fn on_set<R>(&self, entity: EntityType, work: impl FnOnce(&mut dyn AnySet) -> R) -> Option<R> {
        self.state.lock().set(entity.type_id).map(work)
    }

    /// Merges what an event has changed, all or nothing.
    pub(crate) fn merge(&self, changes: &EventChanges, now: Timestamp) -> Merge {
        let mut types = changes.types.lock();
        if types.is_empty() {
            return Merge::Merged;
        }
        let mut state = self.state.lock();
        let mut answer = Merge::Merged;
        for (type_id, changed) in types.iter_mut() {
            let Some(set) = state.set(*type_id) else {
                return Merge::Failed(LookupFailure::Undeclared(changed.entity()));
            };
            match changed.check(set) {
                Merge::Merged => {}
                Merge::Unloaded => answer = Merge::Unloaded,
                never => return never,
            }
        }
        if answer == Merge::Merged {
            for (type_id, changed) in types.iter_mut() {
                if let Some(set) = state.set(*type_id) {
                    changed.merge(set, now);
                }
            }
        }
        answer
    }

    /// Takes what the merged events have written and read, for [`Changes`](crate::store::Changes), and forgets every row:
    /// whether the commit succeeds or not, the next batch begins with what the store then holds.
    pub(crate) fn take_changes(&self, entities: &[EntityType]) -> UnitChanges {
        let mut changes = UnitChanges::default();
        {
            let mut state = self.state.lock();
            for entity in entities {
                if let Some((_, set)) = state.sets.iter_mut().find(|(known, _)| *known == entity.type_id) {
                    changes.read.extend(set.read().map(|read| (*entity, read)));
                    changes.written.extend(set.take_written().map(|written| (*entity, written)));
                }
            }
        }
        self.clear();
        changes
    }

    /// Forgets every row. Look-ups that wait are asked to look again.
    pub(crate) fn clear(&self) {
        let waiting = {
            let mut state = self.state.lock();
            for (_, set) in &mut state.sets {
                set.clear();
            }
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }
}

/// What a unit asks the store to write and to compare.
#[derive(Default)]
pub(crate) struct UnitChanges {
    pub(crate) written: Vec<(EntityType, Box<dyn Any + Send + Sync>)>,
    pub(crate) read: Vec<(EntityType, Box<dyn Any + Send + Sync>)>,
}
