//! A bounded range of a topic runs through this build again, without the group: no position of the service moves, and no
//! offset is committed.
//!
//! The production engine runs on a consumer that knows one range and on a store of two halves: the replay's own positions and
//! waiting events, in memory, and the service's entities and identities. An event that the store knows by its id is a repeat, as
//! ever; what is written is written by compared versions, so a running service and a replay may work at the same time, and one of
//! two that meet in a row runs again. A replay that is killed leaves its effects and nothing else; what it had not come to, the
//! next one does.
//!
//! | module | the question it answers |
//! |---|---|
//! | `range` | which records are meant, and may they be replayed? |
//! | `consumer` | how do they come to the engine? |
//! | `store` | where do positions, waiting events and effects go? |
//! | `shadow` | how does the engine run and change nothing? |
//! | `report` | what came of it? |

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
    range::{Bound, Range, ranges},
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

/// How often it is looked whether everything has come to its end.
const LOOK: Duration = Duration::from_millis(20);

/// Where the records of ranges come from, in the offset order of each partition.
pub(crate) trait RecordSource: Send {
    /// The next record with its partition, in a batch of one; `None` behind the last.
    fn next_record(&mut self) -> Result<Option<(i32, RecordBatch)>, String>;
}

/// What a replay runs with.
pub(crate) struct RangeReplay {
    pub(crate) registry: Arc<Registry>,
    pub(crate) entities: Vec<EntityType>,
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ranges: Vec<Range>,
    /// Change nothing, and say what would be different.
    pub(crate) shadow: bool,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeProgress {
    /// Records that were taken.
    pub(crate) taken: u64,
    /// Records that there are at most.
    pub(crate) all: u64,
    /// Events of those taken that wait for their next attempt.
    pub(crate) waiting: u64,
}

/// Why a replay did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The records do not come.
    #[error("the range cannot be read: {0}")]
    Records(String),
    /// Whether an event counts already is not known. What came before it has had its effect.
    #[error("{0}")]
    Doubtful(String),
    /// A partition does not go on.
    #[error("{partition} does not go on: {reason}")]
    Stopped {
        /// Which.
        partition: String,
        /// Why.
        reason: String,
    },
}

impl RangeReplay {
    /// Runs the ranges to their end: every event has its outcome, or waits for an operator. `progress` is called with how far it is.
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
            publisher: Arc::new(Nobody),
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
        let result = to_the_end(&*view, &consumer, &outcomes, &*operations, |taken, waiting| {
            progress(RangeProgress { taken, all, waiting });
        })
        .await;
        // However it has ended: the engine must not run on behind the answer.
        let stats = operations.stats();
        consumer.revoke().await;
        engine.leave();
        engine.ended().await;
        engine.publish_rest(Duration::ZERO).await;
        Ok(outcomes.report(shadow, &stats, result?))
    }
}

/// Waits until every event has its outcome or waits for an operator, and answers how many of these there are. `progress` takes the
/// events that were consumed, and those that wait.
async fn to_the_end(
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

/// Publishes nothing: what is to leave lies in the service's outbox, and leaves with its relay.
struct Nobody;

#[async_trait]
impl Publisher for Nobody {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        let reason = "a replay publishes nothing itself";
        let refuse = |record: &Arc<OutgoingRecord>| {
            Err(PublishError::Refused { topic: record.topic.to_string(), reason: reason.to_owned() })
        };
        records.iter().map(refuse).collect()
    }
}
