//! The unit of work: entities as events of one partition see and change them, before anything is committed.
//!
//! Processors run outside any transaction. Each event works on an overlay of its own, `EventChanges`; when it succeeds, the
//! overlay is merged whole into the partition's `Unit`, and when it fails, panics or times out it is dropped. A row
//! that an event read must still have the version that it read when the overlay is merged, else the event runs again.

use std::{
    any::{Any, TypeId},
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt,
    future::poll_fn,
    hash::Hash,
    task::{Poll, Waker},
};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::lookups::Lookups;
use crate::{
    broker::OutgoingRecord,
    dispatch::{Delivery, Injectable},
    store::{Change, Entity, EntityType, Row},
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
                let slot = set.loaded(id)?;
                slot.read = true;
                Some((slot.version(), slot.row.as_ref().map(|row| row.value.clone())))
            });
            match found {
                Some((version, value)) => {
                    if waited {
                        self.delivery.changes().lookups.end();
                    }
                    self.delivery.changes().with(|changes: &mut Changed<T>| changes.reads.push((id.clone(), version)));
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

/// The overlay of one entity type.
struct Changed<T: Entity> {
    reads: Vec<(T::Id, u64)>,
    writes: Vec<T>,
}

impl<T: Entity> Default for Changed<T> {
    fn default() -> Self {
        Self { reads: Vec::new(), writes: Vec::new() }
    }
}

impl<T: Entity> Changed<T> {
    fn find(&self, id: &T::Id) -> Option<T> {
        self.writes.iter().find(|written| written.id() == id).cloned()
    }

    fn put(&mut self, entity: T) {
        match self.writes.iter_mut().find(|written| written.id() == entity.id()) {
            Some(earlier) => *earlier = entity,
            None => self.writes.push(entity),
        }
    }
}

/// Whether an event's overlay fits what the unit holds by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// It is part of the unit now.
    Merged,
    /// A row that it read has changed since: run the event again.
    Stale,
    /// A row that it writes is not loaded yet: load what the unit wants, then merge again.
    Unloaded,
}

trait AnyChanged: Any + Send {
    fn check(&self, set: &mut dyn AnySet) -> Merge;
    fn merge(&mut self, set: &mut dyn AnySet, now: Timestamp);
    fn new_set(&self) -> Box<dyn AnySet>;
}

impl<T: Entity> AnyChanged for Changed<T> {
    fn check(&self, set: &mut dyn AnySet) -> Merge {
        let set = typed_set::<T>(set);
        let mut answer = Merge::Merged;
        for (id, version) in &self.reads {
            match set.loaded(id) {
                Some(slot) if slot.version() == *version => {}
                Some(_) => return Merge::Stale,
                None => answer = Merge::Unloaded,
            }
        }
        for entity in &self.writes {
            if set.loaded(entity.id()).is_none() {
                answer = Merge::Unloaded;
            }
        }
        answer
    }

    fn merge(&mut self, set: &mut dyn AnySet, now: Timestamp) {
        let set = typed_set::<T>(set);
        for (id, _) in self.reads.drain(..) {
            if let Some(slot) = set.slots.get_mut(&id) {
                slot.read = true;
            }
        }
        for value in self.writes.drain(..) {
            if let Some(slot) = set.slots.get_mut(value.id()) {
                slot.write(value, now);
            }
        }
    }

    fn new_set(&self) -> Box<dyn AnySet> {
        Box::new(Set::<T>::default())
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
        for (type_id, changed) in types.iter() {
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

/// One entity type's rows in a unit, with the type erased.
pub(crate) trait AnySet: Any + Send {
    fn want_all(&mut self, ids: Box<dyn Any + Send>);
    fn take_wanted(&mut self) -> Option<Box<dyn Any + Send>>;
    fn insert(&mut self, rows: Box<dyn Any + Send>);
    /// The rows that events have changed; only [`clear`](AnySet::clear) may follow.
    fn take_written(&mut self) -> Option<Box<dyn Any + Send + Sync>>;
    fn read(&self) -> Option<Box<dyn Any + Send + Sync>>;
    fn clear(&mut self);
}

/// An empty set of `T`.
pub(crate) fn new_set<T: Entity>() -> Box<dyn AnySet> {
    Box::new(Set::<T>::default())
}

fn typed_set<T: Entity>(set: &mut dyn AnySet) -> &mut Set<T> {
    let set: &mut dyn Any = set;
    #[expect(clippy::expect_used, reason = "sets are kept under their own type id")]
    set.downcast_mut().expect("a set is kept under its own type")
}

struct Set<T: Entity> {
    slots: HashMap<T::Id, Slot<T>, RandomState>,
    /// Asked for, and not yet by the store.
    wanted: Vec<T::Id>,
}

impl<T: Entity> Default for Set<T> {
    fn default() -> Self {
        Self { slots: HashMap::default(), wanted: Vec::new() }
    }
}

impl<T: Entity> Set<T>
where
    T::Id: Hash,
{
    /// The row of that id, where it is loaded; else it is wanted from now on.
    fn loaded(&mut self, id: &T::Id) -> Option<&mut Slot<T>> {
        if !self.slots.contains_key(id) {
            self.want(id.clone());
        }
        self.slots.get_mut(id).filter(|slot| slot.is_loaded)
    }

    fn want(&mut self, id: T::Id) {
        if let Entry::Vacant(vacant) = self.slots.entry(id) {
            self.wanted.push(vacant.key().clone());
            vacant.insert(Slot::default());
        }
    }
}

struct Slot<T> {
    /// Whether the store has been asked, and has answered.
    is_loaded: bool,
    /// The version in the store; 0 for absent.
    base: u64,
    row: Option<Row<T>>,
    read: bool,
    written: bool,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { is_loaded: false, base: 0, row: None, read: false, written: false }
    }
}

impl<T> Slot<T> {
    /// The version as the events of this unit see it.
    fn version(&self) -> u64 {
        self.row.as_ref().map_or(0, |row| row.version)
    }

    fn write(&mut self, value: T, now: Timestamp) {
        self.written = true;
        match &mut self.row {
            Some(row) => {
                row.value = value;
                row.version += 1;
                row.updated_at = now;
            }
            None => self.row = Some(Row { value, version: 1, created_at: now, updated_at: now }),
        }
    }
}

impl<T: Entity> AnySet for Set<T> {
    fn want_all(&mut self, ids: Box<dyn Any + Send>) {
        if let Ok(ids) = ids.downcast::<Vec<T::Id>>() {
            ids.into_iter().for_each(|id| self.want(id));
        }
    }

    fn take_wanted(&mut self) -> Option<Box<dyn Any + Send>> {
        if self.wanted.is_empty() {
            return None;
        }
        let mut wanted = std::mem::take(&mut self.wanted);
        // In the order of ids, neighbours in a store's tree are read one after the other.
        wanted.sort_unstable();
        Some(Box::new(wanted))
    }

    fn insert(&mut self, rows: Box<dyn Any + Send>) {
        if let Ok(rows) = rows.downcast::<Vec<Row<T>>>() {
            for row in *rows {
                // One that is loaded already may have merged changes, and the store's state is older.
                if let Some(slot) = self.slots.get_mut(row.value.id()).filter(|slot| !slot.is_loaded) {
                    slot.base = row.version;
                    slot.row = Some(row);
                }
            }
        }
        // What was asked for and has not come does not exist. What is wanted since has not been asked for.
        let wanted: HashSet<&T::Id> = self.wanted.iter().collect();
        for (id, slot) in &mut self.slots {
            slot.is_loaded |= !wanted.contains(id);
        }
    }

    fn take_written(&mut self) -> Option<Box<dyn Any + Send + Sync>> {
        let mut changes: Vec<Change<T>> = self
            .slots
            .values_mut()
            .filter(|slot| slot.written)
            .filter_map(|slot| Some(Change { row: slot.row.take()?, expected: slot.base }))
            .collect();
        if changes.is_empty() {
            return None;
        }
        // One order of rows for every writer: two transactions then never wait for each other in a circle.
        changes.sort_unstable_by(|a, b| a.row.value.id().cmp(b.row.value.id()));
        Some(Box::new(changes))
    }

    fn read(&self) -> Option<Box<dyn Any + Send + Sync>> {
        let mut reads: Vec<(T::Id, u64)> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.read && !slot.written)
            .map(|(id, slot)| (id.clone(), slot.base))
            .collect();
        if reads.is_empty() {
            return None;
        }
        reads.sort_unstable();
        Some(Box::new(reads))
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.wanted.clear();
    }
}
