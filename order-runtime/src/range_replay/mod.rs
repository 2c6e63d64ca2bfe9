//! Replays a bounded range of a topic through this build, outside the consumer group: the service's positions do not move, and no
//! offset is committed.
//!
//! The production engine runs with a consumer that has only this range, and with a store of two parts: the replay's own positions
//! and waiting events in memory, and the service's entities and deduplication windows. As usual, an event whose id the store
//! knows is a repeat. Writes compare versions, so a replay can run beside the service; if both change the same row, one of them
//! runs its batch again. A killed replay leaves only its effects; the next replay does the rest.
//!
//! | module | the question it answers |
//! |---|---|
//! | `range` | which records are replayed, and is that allowed? |
//! | `consumer` | how does the engine get the records? |
//! | `store` | where are positions, waiting events and effects kept? |
//! | `shadow` | how does the engine run without changing anything? |
//! | `report` | what is the result? |

mod consumer;
mod range;
mod report;
mod shadow;
mod store;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::mpsc;

use self::{
    consumer::RangeConsumer,
    report::Outcomes,
    shadow::ShadowStore,
    store::{OwnPositions, RangeStore},
};
pub(crate) use self::{
    range::{Range, RangeSelection, ranges},
    report::Report,
};
use crate::{
    broker::{Acknowledged, ConsumerEvent, PublishError, Publisher},
    engine::{
        self, Parts, Settings, SystemClock,
        observe::{Operations, PartitionState},
    },
    model::{OutgoingRecord, OutgoingRecords, RecordBatch},
    registry::Registry,
    store::{EntityType, Store, StoreError, WaitingState},
    telemetry::metrics::Metrics,
};

/// Interval of the check whether every event is finished.
const LOOK: Duration = Duration::from_millis(20);

/// The source of the records of ranges, in offset order within each partition.
pub(crate) trait RecordSource: Send {
    /// The next record with its partition, in a batch of one; `None` after the last.
    fn next_record(&mut self) -> Result<Option<(i32, RecordBatch)>, String>;
}

/// A replay of ranges, ready to run.
pub(crate) struct RangeReplay {
    pub(crate) registry: Arc<Registry>,
    pub(crate) entities: Vec<EntityType>,
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ranges: Vec<Range>,
    /// Whether to change nothing, and to report differing outcomes.
    pub(crate) shadow: bool,
}

/// The progress of a replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeProgress {
    /// Records that the engine has consumed.
    pub(crate) taken: u64,
    /// Maximum number of records in the ranges.
    pub(crate) all: u64,
    /// Waiting events among the consumed records.
    pub(crate) waiting: u64,
}

/// Why a replay stopped before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records cannot be read.
    #[error("the range cannot be read: {0}")]
    Records(String),
    /// It is unknown whether an event has already been applied. Earlier events have had their effect.
    #[error("{0}")]
    Doubtful(String),
    /// A partition stopped.
    #[error("{partition} stopped: {reason}")]
    Stopped {
        /// The partition.
        partition: String,
        /// The reason.
        reason: String,
    },
}

impl RangeReplay {
    /// Runs the ranges to their end: every event has its outcome or is held for an operator. Calls `progress` regularly.
    pub(crate) async fn run(
        self,
        records: impl RecordSource + 'static,
        mut progress: impl FnMut(RangeProgress),
    ) -> Result<Report, ReplayError> {
        let Self { registry, entities, settings, store, ranges, shadow } = self;
        let all: u64 = ranges.iter().map(Range::at_most).sum();
        let outcomes = Arc::new(Outcomes::default());
        let own = OwnPositions::begin(&ranges).await?;
        let view: Arc<dyn Store> = if shadow {
            Arc::new(ShadowStore::new(store, own, Arc::clone(&outcomes), &ranges))
        } else {
            Arc::new(RangeStore::new(store, own, Arc::clone(&outcomes)))
        };
        let (events, receiver) = mpsc::unbounded_channel();
        let consumer = RangeConsumer::new(&ranges, events.clone());
        let mut engine = engine::start(Parts {
            metrics: Metrics::new(registry.processors().len()),
            tracer: None,
            registry,
            store: Arc::clone(&view),
            store_id: uuid::Uuid::nil(),
            consumer: Arc::clone(&consumer) as _,
            metadata: None,
            events: receiver,
            publisher: Arc::new(RefusingPublisher),
            entities,
            settings: Settings { shadow, ..settings },
            clock: Arc::new(SystemClock),
        });
        let operations = engine.operations();
        let (answer, assigned) = tokio::sync::oneshot::channel();
        let partitions = consumer.offers();
        // The engine listens until its consumer closes.
        let _ = events.send(ConsumerEvent::Assigned { partitions, answer });
        let _ = assigned.await;
        drop(events);
        consumer.fill(records);
        let result = until_finished(&*view, &consumer, &outcomes, &*operations, |taken, waiting| {
            progress(RangeProgress { taken, all, waiting });
        })
        .await;
        // Also after an error: the engine must not run on after this function returns.
        let stats = operations.stats();
        consumer.revoke().await;
        engine.leave();
        engine.ended().await;
        engine.publish_rest(Duration::ZERO).await;
        Ok(outcomes.report(shadow, &stats, result?))
    }
}

/// Waits until every event has its outcome or is held for an operator, and returns the number of held events. Calls `progress`
/// with the number of consumed events and of waiting events.
async fn until_finished(
    view: &dyn Store,
    consumer: &RangeConsumer,
    outcomes: &Outcomes,
    operations: &dyn Operations,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64, ReplayError> {
    loop {
        let waiting = operations.partitions().iter().map(|partition| partition.waiting_events as u64).sum();
        progress(operations.stats().consumed, waiting);
        if let Some(why) = consumer.failed() {
            return Err(ReplayError::Records(why));
        }
        if let Some(why) = outcomes.doubted() {
            return Err(ReplayError::Doubtful(why));
        }
        let partitions = operations.partitions();
        if let Some(stopped) = partitions.iter().find(|partition| partition.state == PartitionState::Stopped) {
            let reason = stopped.reason.clone().unwrap_or_default();
            return Err(ReplayError::Stopped { partition: format!("{}/{}", stopped.topic, stopped.partition), reason });
        }
        let taken = partitions.iter().all(|partition| partition.lag == Some(0));
        if consumer.is_read() && taken {
            let waiting = view.waiting(usize::MAX).await?;
            if waiting.iter().all(|(_, row)| matches!(row.state, WaitingState::Held(_))) {
                return Ok(waiting.len() as u64);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A publisher that refuses everything: outgoing records are in the service's outbox, and its relay publishes them.
struct RefusingPublisher;

#[async_trait]
impl Publisher for RefusingPublisher {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        let reason = "a replay publishes nothing itself";
        let refuse = |record: &Arc<OutgoingRecord>| {
            Err(PublishError::Refused { topic: record.topic.to_string(), reason: reason.to_owned() })
        };
        records.iter().map(refuse).collect()
    }
}
