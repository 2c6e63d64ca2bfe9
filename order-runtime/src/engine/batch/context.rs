//! The context that all batches of a partition share while it is assigned.

use std::{borrow::Cow, sync::Arc};

use crate::{
    dispatch::DeliveryShared,
    engine::{
        Engine,
        observe::status::PartitionStatus,
        retry::{
            self,
            waiting::{self, Waiting},
        },
    },
    identity,
    model::{DeadLetterId, PartitionId},
    store::WaitingRow,
    unit_of_work::Unit,
};

/// An assigned partition.
pub(crate) struct PartitionContext {
    pub(crate) id: Arc<PartitionId>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) unit: Arc<Unit>,
    pub(crate) status: Arc<PartitionStatus>,
    pub(super) shared: Arc<DeliveryShared>,
    /// Its name, the prefix of the ids that are derived from its records.
    name: String,
    /// The key of the window that events without a key share.
    window_without_key: Vec<u8>,
}

impl PartitionContext {
    pub(crate) fn new(id: Arc<PartitionId>, engine: Arc<Engine>, status: Arc<PartitionStatus>) -> Self {
        let name = identity::name_of(&id);
        let window_without_key = identity::window_key_without_key(&name);
        let unit = Arc::new(Unit::new(&engine.entities));
        let shared = Arc::new(DeliveryShared {
            contracts: Arc::clone(&engine.registry) as _,
            partition: Arc::clone(&id),
            unit: Arc::clone(&unit),
            group: engine.settings.group.as_str().into(),
            needs: None,
        });
        Self { id, engine, unit, status, shared, name, window_without_key }
    }

    pub(super) fn id_of_place(&self, offset: i64) -> String {
        identity::id_of_place(&self.name, offset)
    }

    pub(super) fn dead_letter_id(&self, offset: i64) -> DeadLetterId {
        identity::dead_letter_id(&self.name, offset)
    }

    /// The key of the deduplication window for the events of a key queue. It equals the name of the queue, except for events
    /// without a key and for keys longer than [`identity::LONGEST_KEY`].
    pub(crate) fn window_key<'k>(&'k self, queue: &'k [u8]) -> Cow<'k, [u8]> {
        match waiting::key_of(queue) {
            Some(key) if key.len() > identity::LONGEST_KEY => identity::window_key_of(key).into(),
            Some(_) => queue.into(),
            None => self.window_without_key.as_slice().into(),
        }
    }

    /// The waiting events of the partition, built from the rows of the store.
    pub(crate) fn waiting(&self, rows: Vec<WaitingRow>) -> Waiting {
        let longest = self.engine.registry.processors().iter().map(|entry| retry::longest_delay(&entry.policy)).max();
        Waiting::assigned(rows, self.engine.clock.now(), longest.unwrap_or_default())
    }
}
