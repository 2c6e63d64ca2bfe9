//! What the delivery engine needs of a broker, as traits of few methods, and the brokers behind them.
//!
//! Only `broker/kafka` and `broker/embedded` name the Kafka client. Everything above sees records, partitions and these traits, so the
//! engine runs unchanged against a broker that a test steers.

mod cluster;
pub mod embedded;
pub mod kafka;
#[cfg(test)]
pub(crate) mod memory;

use crate::model::{Health, OutgoingRecords, PartitionId, RecordBatch};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

pub use cluster::{ClusterMetadata, ClusterTopics, TopicState};
pub use kafka::BrokerError;

/// What the broker tells of a partition that it assigns.
#[derive(Debug, Clone)]
pub struct PartitionOffer {
    /// Which partition.
    pub id: PartitionId,
    /// The first offset that the log still has.
    pub log_start: i64,
    /// The offset after the last record.
    pub log_end: i64,
    /// The group's committed offset, where it has one.
    pub committed: Option<i64>,
    /// The metadata that stands beside the committed offset; empty where there is none.
    pub committed_metadata: String,
    /// Told when records are ready to be taken that were not before; of those that follow them nobody is told. A word may come
    /// for nothing.
    pub ready: Arc<Notify>,
}

/// Where the engine wants a partition to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Deliver from this offset on.
    At(i64),
    /// Deliver nothing until [`Consumer::seek`].
    Paused,
}

/// What a consumer tells the engine. The poll thread waits for the answers, so they are given soon.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// Partitions are ours from now on. The answer has one element for each, in the same order.
    Assigned {
        /// The partitions.
        partitions: Vec<PartitionOffer>,
        /// Where each begins.
        answer: oneshot::Sender<Vec<Start>>,
    },
    /// Partitions are taken away. The engine drains them, then answers; nothing of them is delivered any more.
    Revoked {
        /// The partitions.
        partitions: Vec<PartitionId>,
        /// Somebody else may own them already: do not drain, only drop.
        lost: bool,
        /// Sent when their work has ended.
        answer: oneshot::Sender<()>,
    },
    /// The consumer asked for an offset that the partition's log does not have; it waits for a [`Consumer::seek`].
    OutOfRange {
        /// The partition.
        partition: PartitionId,
        /// The first offset of the log.
        log_start: i64,
        /// The offset after its last record.
        log_end: i64,
    },
    /// The consumer cannot go on; the text says why and what to do.
    Fatal(String),
}

/// How a partition's records come in, from what is known; asks nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxStatus {
    /// The offset after the log's last record, as last heard: by a fetch, or within ten seconds where nothing is fetched.
    pub log_end: i64,
    /// The offset after the last record that was taken.
    pub taken: i64,
    /// Where the next record that can be taken may lie: at the log's end where only marks of transactions follow.
    pub next: i64,
    /// Since when records lie ready that were not taken.
    pub ready_since: Option<Instant>,
    /// Since when nothing has come though the log has more; `None` where it comes, or is not to come.
    pub silent_since: Option<Instant>,
    /// Since when everything that may be read has been fetched, while a producer's transaction that is still open keeps the
    /// records behind it back.
    pub transaction_since: Option<Instant>,
}

impl InboxStatus {
    /// Records between a position and the log's end. Offsets that no record will ever have do not count once everything
    /// before them is handled.
    pub fn lag(&self, position: i64) -> u64 {
        let reached = if position >= self.taken { position.max(self.next) } else { position };
        u64::try_from(self.log_end - reached).unwrap_or_default()
    }
}

/// The engine's side of a group member. Methods return at once; what they ask for is done by the poll thread.
pub trait Consumer: Send + Sync + 'static {
    /// Takes records of the partition that have arrived since, at most `max_records` and about `max_bytes` (always one, where
    /// there is one), in their order; what is left comes with the next call. Records of before the last seek or assignment are not among them.
    fn take(&self, partition: &PartitionId, max_records: usize, max_bytes: usize) -> RecordBatch;

    /// Stops fetching the partition.
    fn pause(&self, partition: &PartitionId);

    /// Fetches the partition again.
    fn resume(&self, partition: &PartitionId);

    /// Drops what has been fetched and not taken, continues at `offset`, and fetches again if it was paused.
    fn seek(&self, partition: &PartitionId, offset: i64);

    /// Lets the group's committed offset follow: `offset` is the next one to read, `metadata` stands beside it.
    fn store_offset(&self, partition: &PartitionId, offset: i64, metadata: &str);

    /// How records of the partition come in; `None` where it is not assigned.
    fn inbox_status(&self, partition: &PartitionId) -> Option<InboxStatus>;

    /// Whether the poll thread moves and the broker answers, from what is known; asks nobody.
    fn health(&self) -> Health;

    /// Leaves the group: drains by [`ConsumerEvent::Revoked`], commits, and ends the poll thread.
    fn close(&self);
}

/// Where an acknowledged record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Why a record was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker will never take it, whatever the number of attempts.
    #[error("the record is larger than the topic {topic} takes")]
    TooLarge {
        /// The topic.
        topic: String,
    },
    /// It may work later: broker away, time-out, queue full. The record may have been written all the same.
    #[error("publishing to {topic} failed: {reason}")]
    Transient {
        /// The topic.
        topic: String,
        /// The client's word.
        reason: String,
    },
    /// The topic takes no record until somebody acts: no permission, no such topic.
    #[error("publishing to {topic} is refused: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// The client's word.
        reason: String,
    },
    /// The topic takes others, but never this record: one without a key in a compacted topic, say.
    #[error("the topic {topic} refuses the record: {reason}")]
    Invalid {
        /// The topic.
        topic: String,
        /// The client's word.
        reason: String,
    },
}

/// Publishes records and says which the broker has acknowledged (all in-sync replicas).
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Sends all records in this order and waits for every answer; the results stand in the same order.
    ///
    /// Where a record is answered with [`PublishError::Transient`], those behind it of the same topic and key are so, too: none of
    /// them overtakes it.
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_at_the_end_of_a_log_are_no_lag() {
        let inbox_status = InboxStatus {
            log_end: 12,
            taken: 10,
            next: 12,
            ready_since: None,
            silent_since: None,
            transaction_since: None,
        };
        assert_eq!(inbox_status.lag(10), 0, "everything that can be taken is handled");
        assert_eq!(inbox_status.lag(7), 5, "something is under way");
        assert_eq!(InboxStatus { next: 10, ..inbox_status }.lag(10), 2, "whether records follow is not known");
        assert_eq!(inbox_status.lag(20), 0, "a position beyond the log's end");
    }
}
