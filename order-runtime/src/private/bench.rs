//! The engine and single parts of it outside a service, for benchmarks. Not part of the public interface.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{
    broker::{Acknowledged, Consumer, ConsumerEvent, PublishError, Publisher},
    config::{OffsetReset, OnTruncation},
    decode::DecodedRecord,
    dispatch::{Delivery, DeliveryParts, DeliveryShared},
    engine::{self, EngineHandle, Parts, Settings, SystemClock, observe::StatsView},
    model::{OutgoingRecords, PartitionId, RecordBatch},
    registry::{ProcessorEntry, Registry, RegistryErrors},
    store::{Entity, EntityType, Row, Store, StoreError, memory::MemoryStore},
    telemetry::metrics::Metrics,
    unit_of_work::{EventChanges, Merge, Unit},
};

/// A registry of these processors only, independent of those linked into the program.
///
/// # Errors
/// If two of them handle the same event, or `processors` is empty.
pub fn registry(processors: &'static [ProcessorEntry]) -> Result<Registry, RegistryErrors> {
    let nothing = BTreeMap::new();
    Registry::from_entries(processors.iter(), std::iter::empty(), std::iter::empty(), std::iter::empty(), &nothing)
}

/// A running engine.
pub struct BenchEngine(EngineHandle);

impl BenchEngine {
    /// Its counters.
    pub fn stats(&self) -> StatsView {
        self.0.operations().stats()
    }
}

/// Starts an engine without entities on the current tokio runtime. It keeps its positions in memory.
///
/// # Errors
/// None in practice: the store in memory accepts every claim.
pub async fn engine(
    registry: Registry,
    consumer: Arc<dyn Consumer>,
    events: mpsc::UnboundedReceiver<ConsumerEvent>,
) -> Result<BenchEngine, StoreError> {
    let store = Arc::new(MemoryStore::default());
    let settings = Settings {
        group: "bench".to_owned(),
        topics: Vec::new(),
        dlq_topic: "bench-dlq".into(),
        dlq_headers: Vec::new(),
        service_version: "0.0.0",
        reset: OffsetReset::Earliest,
        on_truncation: OnTruncation::Stop,
        retry_max_elapsed: None,
        drain: Duration::from_secs(1),
        retention: Duration::from_hours(1),
        shadow: false,
    };
    Ok(BenchEngine(engine::start(Parts {
        store_id: store.claim(&settings.group).await?,
        metrics: Metrics::new(registry.processors().len()),
        registry: Arc::new(registry),
        store,
        consumer,
        metadata: None,
        events,
        publisher: Arc::new(Nowhere),
        entities: Vec::new(),
        settings,
        clock: Arc::new(SystemClock),
        tracer: None,
    })))
}

/// Acknowledges every record and discards it.
struct Nowhere;

#[async_trait]
impl Publisher for Nowhere {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        records.iter().map(|_| Ok(Acknowledged { partition: 0, offset: 0 })).collect()
    }
}

/// One partition's records and unit of work, without an engine.
pub struct BenchPartition {
    shared: Arc<DeliveryShared>,
    entity: EntityType,
}

impl BenchPartition {
    /// A partition whose events change entities of one type.
    pub fn new(registry: Registry, id: PartitionId, entity: EntityType) -> Self {
        let shared = DeliveryShared {
            contracts: Arc::new(registry),
            partition: Arc::new(id),
            unit: Arc::new(Unit::new(&[entity])),
            group: "bench".into(),
            needs: None,
        };
        Self { shared: Arc::new(shared), entity }
    }

    /// The delivery of a record, decoded as the engine decodes it; `None` if the record is not an event.
    pub fn deliver(&self, records: &Arc<RecordBatch>, index: usize) -> Option<Delivery> {
        Some(Delivery::new(DeliveryParts {
            shared: Arc::clone(&self.shared),
            decoded: DecodedRecord::decode(Arc::clone(records), index).ok()?,
            given_id: None,
            attempt: 1,
            changes: EventChanges::default(),
            traced: None,
        }))
    }

    /// Fills the unit of work with the rows that events will ask for, as if the store had loaded them.
    pub fn load<T: Entity>(&self, rows: Vec<Row<T>>) {
        let ids: Vec<T::Id> = rows.iter().map(|row| row.value.id().clone()).collect();
        let keys: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.unit().prefetch(self.entity, &mut keys.iter().map(String::as_bytes));
        drop(self.unit().take_wanted(&[self.entity]));
        self.unit().loaded(vec![(self.entity, Box::new(rows))]);
    }

    /// Merges the changes of the event; true if they were merged.
    pub fn merge(&self, delivery: &Delivery, now: Timestamp) -> bool {
        self.unit().merge(delivery.changes(), now) == Merge::Merged
    }

    /// Takes the changes of all merged events, as a commit does, and drops them.
    pub fn take_changes(&self) {
        drop(self.unit().take_changes(&[self.entity]));
    }

    fn unit(&self) -> &Unit {
        &self.shared.unit
    }
}
