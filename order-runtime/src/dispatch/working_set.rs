//! The entities that a processor reads and writes.

use std::{fmt, future::poll_fn, task::Poll};

use super::{Delivery, Injectable};
use crate::{
    store::{
        Entity,
        loaded::{Set, Write},
    },
    unit_of_work::{Changed, LookupFailure},
};

/// The working set of one entity type: the entities as the event sees and changes them.
///
/// Take it as an argument of an event processor, or better as a field of a contract.
pub struct WorkingSet<T: Entity> {
    delivery: Delivery,
    entity: std::marker::PhantomData<fn() -> T>,
}

impl<T: Entity> WorkingSet<T> {
    /// The entity of that id, with the changes that this event has made; `None` if it does not exist.
    ///
    /// The domain does not see failures of the store: the look-up does not return, the attempt is dropped, and the event runs
    /// again when the store is available. While a row cannot be read, the events that need it and their keys wait. An entity
    /// that `dispatcher!` does not list fails its events with the code `entity_not_declared`.
    pub async fn get(&self, id: &T::Id) -> Option<T> {
        match self.delivery.changes().with(|changes: &mut Changed<T>| changes.written(id)) {
            Some(Write::Put(own)) => return Some(own),
            Some(Write::Remove) => return None,
            None => {}
        }
        let mut waited = false;
        poll_fn(|context| {
            let found = self.delivery.unit().with_set(|set: &mut Set<T>| {
                let place = set.place(id, usize::MAX);
                match set.loaded(place) {
                    Some(slot) => {
                        let (version, value) = slot.look();
                        Ok(Some((place, version, value)))
                    }
                    None => set.unreadable(id).map_or(Ok(None), |why| Err(LookupFailure::Unreadable(why))),
                }
            });
            match found.unwrap_or(Err(LookupFailure::Undeclared(std::any::type_name::<T>()))) {
                Ok(Some((place, version, value))) => {
                    if waited {
                        self.delivery.changes().lookups.end();
                    }
                    self.delivery.changes().with(|changes: &mut Changed<T>| changes.read(id, place, version));
                    Poll::Ready(value)
                }
                Err(failure) => {
                    // `attempt::drive` drops the attempt.
                    self.delivery.changes().lookups.fail(failure);
                    Poll::Pending
                }
                Ok(None) => {
                    waited = true;
                    self.delivery.changes().lookups.begin();
                    self.delivery.unit().wait_for_load(context.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Adds the entity or replaces the one of its id. The change counts if the event succeeds, together with its other effects.
    pub fn put(&self, entity: T) {
        self.delivery.changes().with(|changes: &mut Changed<T>| changes.put(entity));
    }

    /// Removes the entity of that id; nothing happens if it does not exist. The change counts if the event succeeds, together with
    /// its other effects. An entity that is added again later begins with version 1.
    pub fn remove(&self, id: &T::Id) {
        self.delivery.changes().with(|changes: &mut Changed<T>| changes.remove(id));
    }
}

impl<T: Entity> Injectable for WorkingSet<T> {
    fn inject(delivery: &Delivery) -> Self {
        delivery.needs::<T>();
        Self { delivery: delivery.clone(), entity: std::marker::PhantomData }
    }
}

impl<T: Entity> fmt::Debug for WorkingSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkingSet").field("entity", &std::any::type_name::<T>()).finish_non_exhaustive()
    }
}
