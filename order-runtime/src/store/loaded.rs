//! The rows of one entity type that a unit of work has loaded.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Change, Entity, Row};

/// How long an unreadable row is not requested again. Each request would make the store read the batch's other rows again.
const UNREADABLE: Duration = Duration::from_secs(2);

/// The rows of one entity type in a unit of work, with the type erased.
pub(crate) trait AnySet: Any + Send {
    fn want_all(&mut self, ids: Box<dyn Any + Send>);
    fn take_wanted(&mut self) -> Option<Box<dyn Any + Send>>;
    /// Adds rows that the store has found.
    fn fill(&mut self, rows: Box<dyn Any + Send>);
    /// Marks every requested row that has not arrived as absent.
    fn close(&mut self);
    /// The ids of requested rows that have not arrived, as a `Vec<T::Id>`.
    fn unanswered(&self) -> Box<dyn Any + Send>;
    /// A copy of a `Vec<T::Id>`.
    fn copy(&self, ids: &dyn Any) -> Box<dyn Any + Send>;
    /// The two halves of a `Vec<T::Id>`; `None` if it has at most one element.
    fn halves(&self, ids: &dyn Any) -> Option<[Box<dyn Any + Send>; 2]>;
    /// Notes that the row of the only id in a `Vec<T::Id>` cannot be read, and returns the reason as a message.
    fn mark_unreadable(&mut self, entity: &str, id: &dyn Any, cause: &str) -> Option<Arc<str>>;
    /// The rows that events have changed; only [`clear`](AnySet::clear) may follow.
    fn take_written(&mut self) -> Option<Box<dyn Any + Send + Sync>>;
    fn read(&self) -> Option<Box<dyn Any + Send + Sync>>;
    fn clear(&mut self);
}

/// An empty set of `T`.
pub(crate) fn new_set<T: Entity>() -> Box<dyn AnySet> {
    Box::new(Set::<T>::default())
}

pub(crate) fn typed_set<T: Entity>(set: &mut dyn AnySet) -> &mut Set<T> {
    let set: &mut dyn Any = set;
    #[expect(clippy::expect_used, reason = "sets are kept under their own type id")]
    set.downcast_mut().expect("a set is kept under its own type")
}

pub(crate) struct Set<T: Entity> {
    /// Indexed by place: a row that was looked up once is found again without hashing its id.
    slots: IndexMap<T::Id, Slot<T>, RandomState>,
    /// Ids that are wanted, but not yet requested from the store.
    wanted: Vec<T::Id>,
    /// Rows that exist but cannot be read: until when each is not requested again, and why.
    unreadable: HashMap<T::Id, (Instant, Arc<str>), RandomState>,
}

impl<T: Entity> Default for Set<T> {
    fn default() -> Self {
        Self { slots: IndexMap::default(), wanted: Vec::new(), unreadable: HashMap::default() }
    }
}

impl<T: Entity> Set<T>
where
    T::Id: Hash,
{
    /// The place of the row with this id, which is probably `hint`. If the set does not have the row, it becomes wanted.
    pub(crate) fn place(&mut self, id: &T::Id, hint: usize) -> usize {
        if self.slots.get_index(hint).is_some_and(|(known, _)| known == id) {
            return hint;
        }
        self.find(id).unwrap_or_else(|| self.want(id.clone()))
    }

    /// The place of the row with this id, if the set has it.
    fn find(&self, id: &T::Id) -> Option<usize> {
        self.slots.get_index_of(id)
    }

    /// The row at this place, if it is loaded.
    pub(crate) fn loaded(&mut self, place: usize) -> Option<&mut Slot<T>> {
        self.slots.get_index_mut(place).map(|(_, slot)| slot).filter(|slot| slot.is_loaded)
    }

    fn want(&mut self, id: T::Id) -> usize {
        if self.unreadable.is_empty() || !self.is_unreadable(&id) {
            self.wanted.push(id.clone());
        }
        self.slots.insert_full(id, Slot::default()).0
    }

    /// Whether the row was unreadable a moment ago. After [`UNREADABLE`] it is requested again, because an operator may have
    /// repaired it.
    fn is_unreadable(&mut self, id: &T::Id) -> bool {
        match self.unreadable.get(id) {
            Some((until, _)) if Instant::now() < *until => true,
            Some(_) => {
                self.unreadable.remove(id);
                false
            }
            None => false,
        }
    }

    /// Why the row cannot be read; `None` for a row without a failed read.
    pub(crate) fn unreadable(&self, id: &T::Id) -> Option<Arc<str>> {
        self.unreadable.get(id).map(|(_, why)| Arc::clone(why))
    }
}

/// What an event has written to a row.
#[derive(Debug, Clone)]
pub(crate) enum Write<T> {
    Put(T),
    Remove,
}

pub(crate) struct Slot<T> {
    /// Whether the store has answered the request for this row.
    is_loaded: bool,
    /// The version in the store; 0 for absent.
    base: u64,
    row: Option<Row<T>>,
    read: bool,
    written: bool,
    /// The last version before an event of this unit removed the entity; 0 if none has.
    removed: u64,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { is_loaded: false, base: 0, row: None, read: false, written: false, removed: 0 }
    }
}

impl<T> Slot<T> {
    /// The version as the events of this unit see it.
    pub(crate) fn version(&self) -> u64 {
        self.row.as_ref().map_or(0, |row| row.version)
    }

    /// The row as the events of this unit see it. Notes the read, so that the commit compares the row's version.
    pub(crate) fn look(&mut self) -> (u64, Option<T>)
    where
        T: Clone,
    {
        self.read = true;
        (self.version(), self.row.as_ref().map(|row| row.value.clone()))
    }

    /// Notes whether an event has read the row, and takes what it has written.
    pub(crate) fn merge(&mut self, read: bool, written: Option<Write<T>>, now: Timestamp) {
        self.read |= read;
        match written {
            Some(Write::Put(value)) => self.put(value, now),
            Some(Write::Remove) => self.remove(),
            None => {}
        }
    }

    fn put(&mut self, value: T, now: Timestamp) {
        self.written = true;
        match &mut self.row {
            Some(row) => {
                row.value = value;
                row.version += 1;
                row.updated_at = now;
            }
            // After a removal by the same unit, the versions continue, so that no earlier event of the unit takes the new entity
            // for the one that it has read.
            None => self.row = Some(Row { value, version: self.removed + 1, created_at: now, updated_at: now }),
        }
    }

    fn remove(&mut self) {
        if let Some(row) = self.row.take() {
            self.removed = row.version;
        }
        // An entity that only this unit has made is not in the store.
        self.written = self.base > 0;
    }

    /// The change of a written row.
    fn change(&mut self, id: &T::Id) -> Option<Change<T>>
    where
        T: Entity,
    {
        let expected = self.base;
        match self.row.take() {
            Some(row) if expected > 0 && self.removed > 0 => Some(Change::Replace { row, expected }),
            Some(row) => Some(Change::Put { row, expected }),
            None if expected > 0 => Some(Change::Remove { id: id.clone(), expected }),
            None => None,
        }
    }
}

impl<T: Entity> AnySet for Set<T> {
    fn want_all(&mut self, ids: Box<dyn Any + Send>) {
        if let Ok(ids) = ids.downcast::<Vec<T::Id>>() {
            for id in *ids {
                if self.find(&id).is_none() {
                    self.want(id);
                }
            }
        }
    }

    fn take_wanted(&mut self) -> Option<Box<dyn Any + Send>> {
        if self.wanted.is_empty() {
            return None;
        }
        let mut wanted = std::mem::take(&mut self.wanted);
        // Sorted, so that neighbours in the store's tree are read one after the other.
        wanted.sort_unstable();
        Some(Box::new(wanted))
    }

    fn fill(&mut self, rows: Box<dyn Any + Send>) {
        if let Ok(rows) = rows.downcast::<Vec<Row<T>>>() {
            for row in *rows {
                // A row that is already loaded may have merged changes; the store's state is older.
                if let Some(slot) = self.slots.get_mut(row.value.id()).filter(|slot| !slot.is_loaded) {
                    slot.base = row.version;
                    slot.row = Some(row);
                    slot.is_loaded = true;
                }
            }
        }
    }

    fn close(&mut self) {
        // Ids that became wanted since then have not been requested.
        let wanted: HashSet<&T::Id> = self.wanted.iter().collect();
        let unreadable = &self.unreadable;
        for (id, slot) in &mut self.slots {
            slot.is_loaded |= !wanted.contains(id) && (unreadable.is_empty() || !unreadable.contains_key(id));
        }
    }

    fn unanswered(&self) -> Box<dyn Any + Send> {
        let wanted: HashSet<&T::Id> = self.wanted.iter().collect();
        let open = self
            .slots
            .iter()
            .filter(|(id, slot)| !slot.is_loaded && !wanted.contains(id) && !self.unreadable.contains_key(*id));
        Box::new(open.map(|(id, _)| id.clone()).collect::<Vec<T::Id>>())
    }

    fn copy(&self, ids: &dyn Any) -> Box<dyn Any + Send> {
        Box::new(ids.downcast_ref::<Vec<T::Id>>().cloned().unwrap_or_default())
    }

    fn halves(&self, ids: &dyn Any) -> Option<[Box<dyn Any + Send>; 2]> {
        let ids = ids.downcast_ref::<Vec<T::Id>>().filter(|ids| ids.len() > 1)?;
        let (first, second) = ids.split_at(ids.len() / 2);
        Some([Box::new(first.to_vec()), Box::new(second.to_vec())])
    }

    fn mark_unreadable(&mut self, entity: &str, id: &dyn Any, cause: &str) -> Option<Arc<str>> {
        let id = id.downcast_ref::<Vec<T::Id>>()?.first()?;
        let why: Arc<str> = format!("the {entity} `{id}` cannot be read from the store: {cause}").into();
        self.unreadable.insert(id.clone(), (Instant::now() + UNREADABLE, Arc::clone(&why)));
        Some(why)
    }

    fn take_written(&mut self) -> Option<Box<dyn Any + Send + Sync>> {
        let mut written: Vec<_> = self.slots.iter_mut().filter(|(_, slot)| slot.written).collect();
        if written.is_empty() {
            return None;
        }
        // Every writer uses the same order of rows, so that transactions never deadlock. References are sorted, because a row
        // is large.
        written.sort_unstable_by_key(|(id, _)| *id);
        let changes = written.into_iter().filter_map(|(id, slot)| slot.change(id));
        Some(Box::new(changes.collect::<Vec<Change<T>>>()))
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
