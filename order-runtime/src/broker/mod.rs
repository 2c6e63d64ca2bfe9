//! The traits through which the delivery engine uses a broker, and their implementations.
//!
//! Only `broker/kafka` and `broker/embedded` use the Kafka client. Everything above them sees records, partitions and these
//! traits, so that the engine runs unchanged against a broker that a test controls.

mod cluster;
pub(crate) mod embedded;
pub mod kafka;
#[cfg(test)]
pub(crate) mod memory;

use std::sync::Arc;

use async_trait::async_trait;
pub(crate) use cluster::{ClusterMetadata, ClusterTopics, TopicState};
pub use kafka::BrokerError;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use crate::model::{Health, OutgoingRecords, PartitionId, RecordBatch};

/// An assigned partition, with the state of its log and the group's committed offset.
#[derive(Debug, Clone)]
pub struct PartitionOffer {
    /// The partition.
    pub id: PartitionId,
    /// The first offset that the log still has.
    pub log_start: i64,
    /// The offset after the last record.
    pub log_end: i64,
    /// The group's committed offset, if it has one.
    pub committed: Option<i64>,
    /// The metadata of the committed offset; empty if there is none.
    pub committed_metadata: String,
    /// Notified when the inbox becomes non-empty (edge-triggered; spurious notifications are possible).
    pub ready: Arc<Notify>,
}

/// The start of a partition, as decided by the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Deliver from this offset on.
    At(i64),
    /// Deliver nothing until [`Consumer::seek`].
    Paused,
}

/// An event from a consumer to the engine. The poll thread blocks on the answers, so the engine must answer soon.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// Partitions are assigned to this member. The answer has one element for each, in the same order.
    Assigned {
        /// The partitions.
        partitions: Vec<PartitionOffer>,
        /// The start of each partition.
        answer: oneshot::Sender<Vec<Start>>,
    },
    /// Partitions are revoked. The engine drains them and then answers. No further records of them are delivered.
    Revoked {
        /// The partitions.
        partitions: Vec<PartitionId>,
        /// Whether another member may own them already. If so, the engine drops their work instead of draining it.
        lost: bool,
        /// Sent when their work has ended.
        answer: oneshot::Sender<()>,
    },
    /// The consumer requested an offset that is not in the partition's log. It waits for a [`Consumer::seek`].
    OutOfRange {
        /// The partition.
        partition: PartitionId,
        /// The first offset of the log.
        log_start: i64,
        /// The offset after its last record.
        log_end: i64,
    },
    /// The consumer cannot continue. The text gives the cause and a remedy.
    Fatal(String),
}

/// How a partition's records arrive. Read from known state, without a request to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxStatus {
    /// The offset after the log's last record, as last reported: by a fetch, or within ten seconds if nothing is fetched.
    pub log_end: i64,
    /// The offset after the last record that was taken.
    pub taken: i64,
    /// The lowest possible offset of the next record; the log's end if only transaction markers follow.
    pub next: i64,
    /// Since when records have been ready and none was taken.
    pub ready_since: Option<Instant>,
    /// Since when nothing has arrived although the log has more; `None` if records arrive or are not expected.
    pub silent_since: Option<Instant>,
    /// Since when everything readable has been fetched, while a producer's open transaction holds back the records after it.
    pub transaction_since: Option<Instant>,
}

impl InboxStatus {
    /// The number of records between `position` and the log's end. Offsets that will never have a record are not counted once
    /// everything before them is handled.
    pub fn lag(&self, position: i64) -> u64 {
        let reached = if position >= self.taken { position.max(self.next) } else { position };
        u64::try_from(self.log_end - reached).unwrap_or_default()
    }
}

/// The engine's interface to a group member. Methods return at once; the poll thread carries them out.
pub trait Consumer: Send + Sync + 'static {
    /// Takes arrived records of the partition in order: at most `max_records` and about `max_bytes`, but at least one if there is
    /// one. The rest comes with the next call. Records from before the last seek or assignment are not returned.
    fn take(&self, partition: &PartitionId, max_records: usize, max_bytes: usize) -> RecordBatch;

    /// Stops fetching the partition.
    fn pause(&self, partition: &PartitionId);

    /// Resumes fetching the partition.
    fn resume(&self, partition: &PartitionId);

    /// Drops records that were fetched and not taken, continues at `offset`, and resumes fetching if it was paused.
    fn seek(&self, partition: &PartitionId, offset: i64);

    /// Sets the group's offset to be committed: `offset` is the next one to read, and `metadata` is committed with it.
    fn store_offset(&self, partition: &PartitionId, offset: i64, metadata: &str);

    /// How records of the partition arrive; `None` if it is not assigned.
    fn inbox_status(&self, partition: &PartitionId) -> Option<InboxStatus>;

    /// Whether the poll thread runs and the broker answers. Read from known state, without a request to the broker.
    fn health(&self) -> Health;

    /// Leaves the group: drains by [`ConsumerEvent::Revoked`], commits, and ends the poll thread.
    fn close(&self);
}

/// The place of an acknowledged record.
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
    /// The record is larger than the topic accepts. A retry cannot succeed.
    #[error("the record is larger than the topic {topic} accepts")]
    TooLarge {
        /// The topic.
        topic: String,
    },
    /// A temporary failure: broker unavailable, time-out, or full queue. The record may have been written nevertheless.
    #[error("publishing to {topic} failed: {reason}")]
    Transient {
        /// The topic.
        topic: String,
        /// The client's error text.
        reason: String,
    },
    /// The topic accepts no records until an operator acts: missing permission, or no such topic.
    #[error("publishing to {topic} is refused: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// The client's error text.
        reason: String,
    },
    /// The topic accepts other records, but never this one: for example, one without a key in a compacted topic.
    #[error("the topic {topic} refuses the record: {reason}")]
    Invalid {
        /// The topic.
        topic: String,
        /// The client's error text.
        reason: String,
    },
}

/// Publishes records and reports which ones the broker has acknowledged (all in-sync replicas).
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Sends all records in this order and waits for every answer. The results have the same order.
    ///
    /// If a record fails with [`PublishError::Transient`], the later records of the same topic and key fail with it too, so that
    /// none of them overtakes it.
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_markers_at_the_end_of_a_log_are_no_lag() {
        let inbox_status = InboxStatus {
            log_end: 12,
            taken: 10,
            next: 12,
            ready_since: None,
            silent_since: None,
            transaction_since: None,
        };
        assert_eq!(inbox_status.lag(10), 0, "everything that can be taken is handled");
        assert_eq!(inbox_status.lag(7), 5, "some records are not taken");
        assert_eq!(InboxStatus { next: 10, ..inbox_status }.lag(10), 2, "it is unknown whether records follow");
        assert_eq!(inbox_status.lag(20), 0, "a position beyond the log's end");
    }
}
