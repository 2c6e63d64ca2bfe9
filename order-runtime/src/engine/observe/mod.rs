//! What the engine shows of itself and lets be steered: the one interface that HTTP and the command line see.

pub(crate) mod event_log;
pub(crate) mod health;
pub(crate) mod progress;
pub(crate) mod status;
pub(crate) mod view;

use super::partition::release::{KeySelection, Release};
use crate::model::{Health, PartitionId};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

/// Numbers since the start; the body of `GET /stats`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsView {
    /// Records taken from Kafka.
    pub consumed: u64,
    /// Events handled.
    pub ok: u64,
    /// Events that needed nothing: repeats, and failures of class `skip`.
    pub skipped: u64,
    /// Events that wait now.
    pub waiting: u64,
    /// Events dead-lettered.
    pub dead_lettered: u64,
    /// Attempts after a first one.
    pub retried: u64,
    /// Dead letters and emitted events that the broker has not acknowledged yet.
    pub unpublished: u64,
    /// Records taken per second, over the last ten seconds.
    pub per_second: f64,
    /// Records in Kafka that are not taken yet, over the assigned partitions; `None` until the broker has told.
    pub lag: Option<u64>,
}

/// One assigned partition; an element of `GET /partitions`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionView {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What it does now.
    pub state: PartitionState,
    /// Why it does not move, where it does not.
    pub reason: Option<String>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// The next offset to handle.
    pub position: i64,
    /// The offset after the last record, as last heard.
    pub log_end: Option<i64>,
    /// Records between the two.
    pub lag: Option<u64>,
    /// Keys that wait.
    pub waiting_keys: usize,
    /// Events that wait.
    pub waiting_events: usize,
    /// Since when the key waits that has waited longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
}

/// What a partition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// Records are handled as they come.
    Running,
    /// An operator has paused consumption.
    Paused,
    /// It does not go on until somebody acts.
    Stopped,
    /// The store does not answer; it goes on by itself when the store does.
    StoreAway,
    /// Its limits on waiting events are reached; attempts go on.
    Full,
    /// It does not move, and no cause is known that will pass: the service is not live.
    Stuck,
}

impl PartitionState {
    /// All states, with their names in JSON.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Running, "running"),
        (Self::Paused, "paused"),
        (Self::Stopped, "stopped"),
        (Self::StoreAway, "store_away"),
        (Self::Full, "full"),
        (Self::Stuck, "stuck"),
    ];
}

/// A partition in which events wait, and which no assignment brings to this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OrphanView {
    /// The partition by its identity.
    #[serde(skip)]
    pub id: PartitionId,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub cause: OrphanCause,
    /// Keys that wait.
    pub waiting_keys: usize,
    /// Events that wait.
    pub waiting_events: usize,
}

/// Why no assignment brings a partition to this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OrphanCause {
    /// `KAFKA_TOPIC` does not name its topic. Another instance may read it.
    NotConfigured,
    /// It belongs to another cluster than the one that is configured.
    OtherCluster,
    /// The cluster has no topic with its id any more: it was deleted, or made anew.
    TopicDeleted,
    /// It belongs to an embedded broker that has ended, with everything in it.
    BrokerEnded,
}

impl OrphanCause {
    /// Whether its records are gone for good, so that its waiting events become dead letters by themselves.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::TopicDeleted | Self::BrokerEnded)
    }

    /// The cause and what to do, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotConfigured => {
                "KAFKA_TOPIC does not name it here; an instance that reads it goes on with them, or `waiting dead-letter --topic` \
                 gives them up"
            }
            Self::OtherCluster => {
                "they came from another cluster than the one at KAFKA_BROKER_URL; an instance of that cluster goes on with them, or \
                 `waiting dead-letter --topic` gives them up"
            }
            Self::TopicDeleted => "the cluster no longer has the topic that they came from; they become dead letters",
            Self::BrokerEnded => "the embedded broker that they came from has ended; they become dead letters",
        }
    }
}

/// One processor's counters; part of an element of `GET /processors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessorStats {
    /// Events handled.
    pub ok: u64,
    /// Events dead-lettered.
    pub dead_lettered: u64,
    /// Attempts after a first one.
    pub retried: u64,
    /// Events that the processor wanted skipped.
    pub skipped: u64,
}

/// Dead letters and emitted events that are not published yet; rows that other instances have written may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxView {
    /// Their number.
    pub records: u64,
    /// Their size in bytes: keys, payloads and headers.
    pub bytes: u64,
    /// How many of them their topic refuses; they stay until somebody acts.
    pub refused: u64,
}

/// A view of the running engine that can also steer it.
#[async_trait]
pub trait Operations: Send + Sync + 'static {
    /// The counters.
    fn stats(&self) -> StatsView;

    /// The assigned partitions, by topic and number.
    fn partitions(&self) -> Vec<PartitionView>;

    /// The counters of each processor, in the order of [`Registry::processors`](crate::registry::Registry::processors).
    fn processors(&self) -> Vec<ProcessorStats>;

    /// Whether the circuit breaker of each processor is open, in the same order.
    fn breakers(&self) -> Vec<bool>;

    /// What waits to be published.
    fn outbox(&self) -> OutboxView;

    /// Bytes of the store's write-ahead log, where it keeps one.
    fn store_log_bytes(&self) -> Option<u64> {
        None
    }

    /// Whether it is live and ready; answers from what is known, without asking anybody.
    fn health(&self) -> Health;

    /// Whether an operator has paused consumption.
    fn paused(&self) -> bool;

    /// Stops taking records until [`resume`](Operations::resume).
    fn pause(&self);

    /// Releases waiting keys of the partitions that this instance owns, and answers how many it has found.
    async fn release(&self, which: KeySelection, how: Release) -> usize;

    /// The orphaned partitions in which events wait, as of the last look.
    fn orphans(&self) -> Vec<OrphanView>;

    /// Dead-letters everything that waits of an orphaned topic, and answers how many events that were.
    ///
    /// # Errors
    /// Why nothing, or not all, was given up: the topic is not orphaned, or another instance reads it.
    async fn give_up(&self, which: KeySelection) -> Result<u64, String>;

    /// Takes records again; a stopped partition tries again too.
    fn resume(&self);
}
