//! The engine's state and controls for operators: the only interface that HTTP and the command line use.

pub(crate) mod event_log;
pub(crate) mod health;
pub(crate) mod progress;
pub(crate) mod status;
pub(crate) mod view;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::partition::release::{KeySelection, Release};
use crate::model::{Health, PartitionId};

/// The counters since the start; the body of `GET /stats`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsView {
    /// Records taken from Kafka.
    pub consumed: u64,
    /// Events handled.
    pub ok: u64,
    /// Events that needed no work: repeats, and failures of class `skip`.
    pub skipped: u64,
    /// Events that are waiting now.
    pub waiting: u64,
    /// Events dead-lettered.
    pub dead_lettered: u64,
    /// Attempts after a first one.
    pub retried: u64,
    /// Dead letters and emitted events that the broker has not acknowledged yet.
    pub unpublished: u64,
    /// Records taken per second, over the last ten seconds.
    pub per_second: f64,
    /// Records in Kafka that are not taken yet, over the assigned partitions; `None` until the broker has reported the ends
    /// of the logs.
    pub lag: Option<u64>,
}

/// One assigned partition; an element of `GET /partitions`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PartitionView {
    /// The topic.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: i32,
    /// Its current state.
    pub(crate) state: PartitionState,
    /// Why it makes no progress, if it does not.
    pub(crate) reason: Option<String>,
    /// Since when it has been in this state.
    pub(crate) since: Timestamp,
    /// The next offset to handle.
    pub(crate) position: i64,
    /// The offset after the last record, as last reported by the broker.
    pub(crate) log_end: Option<i64>,
    /// Records between `position` and `log_end`.
    pub(crate) lag: Option<u64>,
    /// Keys that wait.
    pub(crate) waiting_keys: usize,
    /// Events that wait.
    pub(crate) waiting_events: usize,
    /// Since when the longest waiting key has waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waiting_since: Option<Timestamp>,
}

/// The state of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartitionState {
    /// Records are handled as they arrive.
    Running,
    /// An operator has paused consumption.
    Paused,
    /// It does not go on until an operator acts.
    Stopped,
    /// The store is unavailable; the partition goes on by itself when the store answers again.
    StoreAway,
    /// Its limits on waiting events are reached; attempts go on.
    Full,
    /// It makes no progress for no known reason: the service is not live.
    Stuck,
}

impl PartitionState {
    /// All states, with their names in JSON.
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Running, "running"),
        (Self::Paused, "paused"),
        (Self::Stopped, "stopped"),
        (Self::StoreAway, "store_away"),
        (Self::Full, "full"),
        (Self::Stuck, "stuck"),
    ];
}

/// An orphaned partition with waiting events: no assignment brings it to this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrphanView {
    /// The identity of the partition.
    #[serde(skip)]
    pub(crate) id: PartitionId,
    /// The topic.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: i32,
    /// Why it is orphaned.
    pub(crate) cause: OrphanCause,
    /// Keys that wait.
    pub(crate) waiting_keys: usize,
    /// Events that wait.
    pub(crate) waiting_events: usize,
}

/// Why no assignment brings a partition to this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrphanCause {
    /// `KAFKA_TOPIC` does not name its topic. Another instance may read it.
    NotConfigured,
    /// It belongs to another cluster than the one that is configured.
    OtherCluster,
    /// The cluster no longer has a topic with its id: the topic was deleted, or deleted and created again.
    TopicDeleted,
    /// It belongs to an embedded broker that has ended and lost all its records.
    BrokerEnded,
}

impl OrphanCause {
    /// Whether its records are lost, so that its waiting events become dead letters automatically.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::TopicDeleted | Self::BrokerEnded)
    }

    /// The cause and the remedy, as a text for operators.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::NotConfigured => {
                "KAFKA_TOPIC of this instance does not name the topic; an instance that reads it will handle them, or \
                 `waiting dead-letter --topic` dead-letters them"
            }
            Self::OtherCluster => {
                "they came from another cluster than the one at KAFKA_BROKER_URL; an instance of that cluster will handle them, \
                 or `waiting dead-letter --topic` dead-letters them"
            }
            Self::TopicDeleted => "the cluster no longer has the topic that they came from; they become dead letters",
            Self::BrokerEnded => "the embedded broker that they came from has ended; they become dead letters",
        }
    }
}

/// One processor's counters; part of an element of `GET /processors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessorCounters {
    /// Events handled.
    pub(crate) ok: u64,
    /// Events dead-lettered.
    pub(crate) dead_lettered: u64,
    /// Attempts after a first one.
    pub(crate) retried: u64,
    /// Events that the processor wanted skipped.
    pub(crate) skipped: u64,
}

impl ProcessorCounters {
    pub(crate) fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.dead_lettered += other.dead_lettered;
        self.retried += other.retried;
        self.skipped += other.skipped;
    }
}

/// Dead letters and emitted events that are not published yet; rows that other instances have written may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OutboxView {
    /// Their number.
    pub(crate) records: u64,
    /// Their size in bytes: keys, payloads and headers.
    pub(crate) bytes: u64,
    /// How many of them their topic refuses; they stay until an operator acts.
    pub(crate) refused: u64,
}

/// A view of the running engine, with the controls for operators.
#[async_trait]
pub(crate) trait Operations: Send + Sync + 'static {
    /// The counters.
    fn stats(&self) -> StatsView;

    /// The assigned partitions, by topic and number.
    fn partitions(&self) -> Vec<PartitionView>;

    /// The counters of each processor, in the order of [`Registry::processors`](crate::registry::Registry::processors).
    fn processors(&self) -> Vec<ProcessorCounters>;

    /// Whether the circuit breaker of each processor is open, in the same order.
    fn breakers(&self) -> Vec<bool>;

    /// The records that wait to be published.
    fn outbox(&self) -> OutboxView;

    /// The size of the store's write-ahead log, in bytes; `None` if it keeps none.
    fn store_log_bytes(&self) -> Option<u64> {
        None
    }

    /// Whether the engine is live and ready; answers from recorded state, without a request to another component.
    fn health(&self) -> Health;

    /// Whether an operator has paused consumption.
    fn paused(&self) -> bool;

    /// Stops taking records until [`resume`](Operations::resume).
    fn pause(&self);

    /// Releases waiting keys of the partitions that this instance owns. Returns the number of keys that it found.
    async fn release(&self, which: KeySelection, how: Release) -> usize;

    /// The orphaned partitions with waiting events, as of the last check.
    fn orphans(&self) -> Vec<OrphanView>;

    /// Dead-letters all waiting events of an orphaned topic. Returns their number.
    ///
    /// # Errors
    /// If the events were not or not all dead-lettered, because the topic is not orphaned or another instance reads it.
    async fn give_up(&self, which: KeySelection) -> Result<u64, String>;

    /// Takes records again; a stopped partition tries again, too.
    fn resume(&self);
}
