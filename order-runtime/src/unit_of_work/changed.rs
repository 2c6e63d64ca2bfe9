//! The changes that one event makes to entities of one type.

use std::any::Any;

use jiff::Timestamp;

use super::LookupFailure;
use crate::store::{
    Entity,
    loaded::{AnySet, Write, typed_set},
};

/// The result of merging an event's overlay into the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The overlay is part of the unit now.
    Merged,
    /// A row that the event read has changed since: the event must run again.
    Stale,
    /// A row that the event writes is not loaded yet: load the rows that the unit wants, then merge again.
    Unloaded,
    /// A row that the event uses cannot be loaded at all.
    Failed(LookupFailure),
}

/// The overlay of one entity type. An event touches few entities, so a linear search is enough.
pub(crate) struct Changed<T: Entity> {
    touched: Vec<Touched<T>>,
}

struct Touched<T: Entity> {
    id: T::Id,
    /// The index of the row in the unit's set, unless the set was cleared since.
    place: usize,
    /// The version that was read first.
    read: Option<u64>,
    written: Option<Write<T>>,
}

impl<T: Entity> Default for Changed<T> {
    fn default() -> Self {
        Self { touched: Vec::new() }
    }
}

impl<T: Entity> Changed<T> {
    fn touch(&mut self, touched: Touched<T>) {
        if self.touched.is_empty() {
            // Usually there is one; `push` would reserve four.
            self.touched.reserve_exact(1);
        }
        self.touched.push(touched);
    }

    /// What the event has written to the row.
    pub(crate) fn written(&self, id: &T::Id) -> Option<Write<T>> {
        self.touched.iter().find(|touched| touched.id == *id)?.written.clone()
    }

    pub(crate) fn read(&mut self, id: &T::Id, place: usize, version: u64) {
        match self.touched.iter_mut().find(|touched| touched.id == *id) {
            Some(touched) => {
                touched.place = place;
                touched.read.get_or_insert(version);
            }
            None => self.touch(Touched { id: id.clone(), place, read: Some(version), written: None }),
        }
    }

    pub(crate) fn put(&mut self, entity: T) {
        match self.touched.iter_mut().find(|touched| touched.id == *entity.id()) {
            Some(touched) => touched.written = Some(Write::Put(entity)),
            None => {
                let id = entity.id().clone();
                self.touch(Touched { id, place: usize::MAX, read: None, written: Some(Write::Put(entity)) });
            }
        }
    }

    pub(crate) fn remove(&mut self, id: &T::Id) {
        match self.touched.iter_mut().find(|touched| touched.id == *id) {
            Some(touched) => touched.written = Some(Write::Remove),
            None => {
                let id = id.clone();
                self.touch(Touched { id, place: usize::MAX, read: None, written: Some(Write::Remove) });
            }
        }
    }
}

/// A [`Changed`] with its type erased.
pub(crate) trait AnyChanged: Any + Send {
    /// Compares the versions that were read, and checks that all rows are loaded; the unit then wants the missing ones.
    fn check(&mut self, set: &mut dyn AnySet) -> Merge;
    /// Moves the changes into the unit's set, after `check` has accepted them.
    fn merge(&mut self, set: &mut dyn AnySet, now: Timestamp);
    /// The type's name.
    fn entity(&self) -> &'static str;
}

impl<T: Entity> AnyChanged for Changed<T> {
    fn check(&mut self, set: &mut dyn AnySet) -> Merge {
        let set = typed_set::<T>(set);
        let mut answer = Merge::Merged;
        for touched in &mut self.touched {
            touched.place = set.place(&touched.id, touched.place);
            match (set.loaded(touched.place), touched.read) {
                (Some(slot), Some(version)) if slot.version() != version => return Merge::Stale,
                (Some(_), _) => {}
                (None, _) => match set.unreadable(&touched.id) {
                    Some(why) => return Merge::Failed(LookupFailure::Unreadable(why)),
                    None => answer = Merge::Unloaded,
                },
            }
        }
        answer
    }

    fn merge(&mut self, set: &mut dyn AnySet, now: Timestamp) {
        let set = typed_set::<T>(set);
        for touched in self.touched.drain(..) {
            if let Some(slot) = set.loaded(touched.place) {
                slot.merge(touched.read.is_some(), touched.written, now);
            }
        }
    }

    fn entity(&self) -> &'static str {
        std::any::type_name::<T>()
    }
}
