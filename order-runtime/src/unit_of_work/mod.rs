//! The unit of work: entities as the events of one partition see and change them before a commit.
//!
//! Processors run outside any transaction. Each event works on an overlay of its own, `EventChanges`. If the event succeeds, its
//! overlay is merged as a whole into the partition's `Unit`; if it fails, panics or times out, the overlay is dropped. When the
//! overlay is merged, every row that the event read must still have the version that it read; otherwise the event runs again.

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

/// The rows that one event has read and written, and the records that it has emitted.
#[derive(Default)]
pub(crate) struct EventChanges {
    types: Mutex<Vec<(TypeId, Box<dyn AnyChanged>)>>,
    emitted: Mutex<Vec<OutgoingRecord>>,
    /// The time that it has waited for rows, and failed look-ups.
    pub(crate) lookups: Lookups,
}

impl EventChanges {
    /// Adds an emitted record. `make` gets the record's index among those of this event.
    pub(crate) fn emit<E>(&self, make: impl FnOnce(usize) -> Result<OutgoingRecord, E>) -> Result<(), E> {
        let mut emitted = self.emitted.lock();
        let record = make(emitted.len())?;
        emitted.push(record);
        Ok(())
    }

    /// Takes the emitted records, after the event has succeeded.
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

/// The rows that the events of one partition have read and merged since the last commit.
///
/// It lives as long as the partition is assigned, so that an event that outlasts its batch can still use it.
pub(crate) struct Unit {
    state: Mutex<UnitState>,
    asked: Notify,
}

struct UnitState {
    /// One set for each declared entity type; no other type is loaded or saved.
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

    /// Works on the set of a type; `None` if the program does not declare it.
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

    /// Notes the entities that events will probably ask for: those whose ids are the batch's Kafka keys.
    pub(crate) fn prefetch(&self, entity: EntityType, keys: &mut dyn Iterator<Item = &[u8]>) {
        let ids = (entity.ids_of_keys)(keys);
        if let Some(set) = self.state.lock().set(entity.type_id) {
            set.want_all(ids);
        }
    }

    /// Takes the ids of the rows to load, by entity type: a `Vec<T::Id>` each.
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

    /// Takes in loaded rows, a `Vec<Row<T>>` for each type. A wanted row that is not among them does not exist.
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

    /// Like [`loaded`](Self::loaded), for rows that were loaded in parts. A wanted row that is in no part does not exist.
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

    /// Merges the changes of an event, all or nothing.
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

    /// Takes the rows that the merged events have written and read, for [`Changes`](crate::store::Changes), and drops all rows:
    /// whether or not the commit succeeds, the next batch begins with the state of the store.
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

    /// Drops all rows and wakes the waiting look-ups, which look again.
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

/// The rows that the store must write, and the rows whose versions it must compare.
#[derive(Default)]
pub(crate) struct UnitChanges {
    pub(crate) written: Vec<(EntityType, Box<dyn Any + Send + Sync>)>,
    pub(crate) read: Vec<(EntityType, Box<dyn Any + Send + Sync>)>,
}
