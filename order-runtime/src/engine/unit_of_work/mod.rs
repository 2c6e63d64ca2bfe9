//! The unit of work: entities as events of one partition see and change them, before anything is committed.
//!
//! Processors run outside any transaction. Each event works on an overlay of its own, `EventChanges`; when it succeeds, the
//! overlay is merged whole into the partition's `Unit`, and when it fails, panics or times out it is dropped. A row
//! that an event read must still have the version that it read when the overlay is merged, else the event runs again.

mod changed;
mod set;

use std::{
    any::{Any, TypeId},
    fmt,
    future::poll_fn,
    task::{Poll, Waker},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use self::{
    changed::Merge,
    set::{AnySet, new_set},
};
use self::{
    changed::{AnyChanged, Changed},
    set::{Set, typed_set},
};
use super::lookups::Lookups;
use crate::{
    broker::OutgoingRecord,
    dispatch::{Delivery, Injectable},
    store::{Entity, EntityType},
};

/// The entities of one type, as the event of this working set sees them.
///
/// Take it as an argument of an event processor, or better as a field of a contract.
pub struct WorkingSet<T: Entity> {
    delivery: Delivery,
    entity: std::marker::PhantomData<fn() -> T>,
}

impl<T: Entity> WorkingSet<T> {
    /// The entity of that id, with the changes that this event has made; `None` where there is none.
    ///
    /// A store that fails is not the domain's affair: the look-up then does not return, the attempt is dropped, and the event
    /// runs again when the store answers.
    pub async fn get(&self, id: &T::Id) -> Option<T> {
        if let Some(own) = self.delivery.changes().with(|changes: &mut Changed<T>| changes.find(id)) {
            return Some(own);
        }
        let mut waited = false;
        poll_fn(|context| {
            let found = self.delivery.unit().with_set(|set: &mut Set<T>| {
                let place = set.place(id, usize::MAX);
                let (version, value) = set.loaded(place)?.look();
                Some((place, version, value))
            });
            match found {
                Some((place, version, value)) => {
                    if waited {
                        self.delivery.changes().lookups.end();
                    }
                    self.delivery.changes().with(|changes: &mut Changed<T>| changes.read(id, place, version));
                    Poll::Ready(value)
                }
                None => {
                    waited = true;
                    self.delivery.changes().lookups.begin();
                    self.delivery.unit().wait_for_load(context.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Adds the entity or replaces the one of its id. It counts when the event succeeds, together with all else it did.
    pub fn put(&self, entity: T) {
        self.delivery.changes().with(|changes: &mut Changed<T>| changes.put(entity));
    }
}

impl<T: Entity> Injectable for WorkingSet<T> {
    fn inject(delivery: &Delivery) -> Self {
        Self { delivery: delivery.clone(), entity: std::marker::PhantomData }
    }
}

impl<T: Entity> fmt::Debug for WorkingSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkingSet").field("entity", &std::any::type_name::<T>()).finish_non_exhaustive()
    }
}

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

    fn with<T: Entity, R>(&self, work: impl FnOnce(&mut Changed<T>) -> R) -> R {
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
#[derive(Default)]
pub(crate) struct Unit {
    state: Mutex<UnitState>,
    asked: Notify,
}

#[derive(Default)]
struct UnitState {
    sets: Vec<(TypeId, Box<dyn AnySet>)>,
    waiting: Vec<Waker>,
}

impl UnitState {
    fn set(&mut self, wanted: TypeId, make: impl FnOnce() -> Box<dyn AnySet>) -> &mut dyn AnySet {
        let place = self.sets.iter().position(|(known, _)| *known == wanted).unwrap_or_else(|| {
            self.sets.push((wanted, make()));
            self.sets.len() - 1
        });
        self.sets[place].1.as_mut()
    }
}

impl Unit {
    fn with_set<T: Entity, R>(&self, work: impl FnOnce(&mut Set<T>) -> R) -> R {
        let mut state = self.state.lock();
        work(typed_set(state.set(TypeId::of::<T>(), || Box::new(Set::<T>::default()))))
    }

    fn wait_for_load(&self, waker: &Waker) {
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
        self.state.lock().set(entity.type_id, entity.new_set).want_all(ids);
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
                state.set(entity.type_id, entity.new_set).insert(rows);
            }
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
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
            match changed.check(state.set(*type_id, || changed.new_set())) {
                Merge::Merged => {}
                Merge::Stale => return Merge::Stale,
                Merge::Unloaded => answer = Merge::Unloaded,
            }
        }
        if answer == Merge::Merged {
            for (type_id, changed) in types.iter_mut() {
                let set = state.set(*type_id, || changed.new_set());
                changed.merge(set, now);
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
