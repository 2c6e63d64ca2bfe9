//! Partitions: their positions, waiting events and deduplication windows, and the changes of a batch.

use std::{any::Any, collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{DeadLetterRow, EntityType, OutboxRecord, StoreError};
use crate::model::{DeadLetterId, OnExhausted, PartitionId};

/// Positions, waiting events and deduplication windows, changed together with entities in one commit a batch.
#[async_trait]
pub trait PartitionStore: Send + Sync + 'static {
    /// Registers an assignment of these partitions: reads their state, counts a start, and sets a new revision, so that no commit of an
    /// earlier owner is applied from now on. If the last assignment has not [ended](PartitionStore::ended), its owner has died: each
    /// event that was running then, or ran alone, counts as a suspect. The suspects of a partition are counted together or not at all.
    ///
    /// The answer has one element for each partition, in the same order; `None` for a partition without a position.
    async fn assigned(&self, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError>;

    /// Reads the state of one partition without counting a start, after a lost compare-and-set.
    async fn reload(&self, partition: &PartitionId) -> Result<Option<Assigned>, StoreError>;

    /// Writes the first position of a partition and counts its first start. If another owner has written one meanwhile, this registers
    /// an [assignment](PartitionStore::assigned) of the stored position.
    async fn begin(&self, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError>;

    /// Whether any partition of this topic (cluster and topic id) has a position. A partition without one was then added to the topic,
    /// and starts at offset 0 whatever the reset policy says.
    async fn knows_topic(&self, partition: &PartitionId) -> Result<bool, StoreError>;

    /// Loads entities, deduplication windows and dead letters. The parts may come from different snapshots: a commit compares the
    /// versions of everything that it relies on.
    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError>;

    /// Commits the changes of several partitions in one transaction. Each partition succeeds or fails by itself: a conflict of one
    /// leaves the others committed. The answer has one element for each, in the same order.
    ///
    /// # Errors
    /// The outcome of the whole transaction is unknown. Data that the store can never take is no error of this method: it is
    /// answered for its own partition, as [`Committed::Refused`].
    async fn commit(&self, changes: Vec<Arc<Changes>>) -> Result<Vec<Committed>, StoreError>;

    /// The highest offset that may be committed to Kafka for this partition at this position: the position itself if the store is
    /// durable, else the lowest offset that still waits or is in the outbox.
    async fn committable(&self, partition: &PartitionId, position: i64) -> Result<i64, StoreError>;

    /// Records that the event at `offset` runs alone from now on, because owners of the partition have died; `None` records that no
    /// event does. Returns how often an owner has died while this event ran alone, until a commit [clears](Changes::cleared) it. An
    /// [assignment](Assigned::assignment) that is not the latest changes nothing and is answered with 0.
    async fn runs_alone(
        &self,
        partition: &PartitionId,
        assignment: i64,
        offset: Option<i64>,
    ) -> Result<u32, StoreError>;

    /// Records that the owners of these partitions have ended without dying, so that their starts do not count. Each is named by the
    /// number of its [assignment](Assigned::assignment); an assignment that is not the latest is ignored.
    async fn ended(&self, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError>;

    /// Up to `limit` waiting events, in the order of their partitions and offsets.
    async fn waiting(&self, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError>;

    /// Counts the waiting events of each of these partitions; the answer has one element for each, in the same order.
    async fn count_waiting(&self, partitions: &[PartitionId]) -> Result<Vec<WaitingCount>, StoreError> {
        let mut counts = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let rows = self.reload(partition).await?.map(|stored| stored.waiting).unwrap_or_default();
            let keys = rows.iter().map(|row| &row.queue).collect::<BTreeSet<_>>().len();
            counts.push(WaitingCount { keys, events: rows.len() });
        }
        Ok(counts)
    }

    /// The positions of all partitions.
    async fn positions(&self) -> Result<Vec<(PartitionId, i64)>, StoreError>;
}

/// The stored state of a partition at an assignment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assigned {
    /// The next offset to handle.
    pub next_offset: i64,
    /// Grows with every change. A commit compares it, which fences a former owner.
    pub revision: i64,
    /// The number of assignments, this one included, whose owner has not ended in order, since the last commit that
    /// [proved](Changes::proves) that no event under way kills its owner.
    pub starts: u32,
    /// The number of this assignment, which grows with each.
    pub assignment: i64,
    /// Events that may have killed an owner, in offset order.
    pub suspects: Vec<Suspect>,
    /// The waiting events of this partition, in offset order.
    pub waiting: Vec<WaitingRow>,
}

/// An event that may have killed an owner of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// Its offset.
    pub offset: i64,
    /// How often it was running when an owner died.
    pub running: u32,
    /// How often it [ran alone](PartitionStore::runs_alone) when an owner died.
    pub alone: u32,
}

/// The rows that a batch needs.
#[derive(Debug, Default)]
pub struct Load {
    /// Entity types and a `Vec<T::Id>` each.
    pub entities: Vec<(EntityType, Box<dyn Any + Send>)>,
    /// The keys whose deduplication windows are wanted.
    pub windows: Vec<Vec<u8>>,
    /// The ids of the dead letters that records claim to replay.
    pub dead_letters: Vec<DeadLetterId>,
}

/// The rows that were found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// For each element of [`Load::entities`], a `Vec<Row<T>>` of the existing ones, in any order.
    pub entities: Vec<Box<dyn Any + Send>>,
    /// The existing windows.
    pub windows: Vec<DedupRow>,
    /// The existing dead letters.
    pub dead_letters: Vec<DeadLetterRow>,
}

/// The deduplication window of one key: the ids of its last events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupRow {
    /// The Kafka key, or a name that all records of a partition without a key share.
    pub key: Vec<u8>,
    /// Grows by one with each write; 0 in a [`Changes`] means that no row may exist.
    pub version: u64,
    /// The encoded window.
    pub bytes: Vec<u8>,
}

/// All changes of one batch of one partition. They are applied together or not at all.
///
/// No entity, key or offset occurs twice in the same list. Releases are applied before new waiting events.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The partition.
    pub partition: PartitionId,
    /// The position that the batch continues from; compared.
    pub from: i64,
    /// The position after it.
    pub to: i64,
    /// The revision that was read; compared, then raised by one.
    pub revision: i64,
    /// Entities written, a `Vec<Change<T>>` for each type.
    pub entities: Vec<(EntityType, Arc<dyn Any + Send + Sync>)>,
    /// Entities read and not written, a `Vec<(T::Id, u64)>` for each type; version 0 means absent. Compared.
    pub reads: Vec<(EntityType, Arc<dyn Any + Send + Sync>)>,
    /// Deduplication windows written, in the order of their keys, so that neighbouring pages of an index are changed one after the
    /// other. `version` is the one that was read.
    pub windows: Vec<DedupRow>,
    /// Events that wait from now on, or wait with a new state.
    pub waiting: Vec<WaitingRow>,
    /// Offsets of events that no longer wait; each must be there.
    pub released: Vec<i64>,
    /// Records to publish.
    pub outbox: Vec<OutboxRecord>,
    /// Dead letters to remember. They are shared, because the store `memory` keeps them as they are.
    pub dead_letters: Vec<Arc<DeadLetterRow>>,
    /// Whether all events are settled that were under way when an earlier owner died. Its death then no longer counts.
    pub proves: bool,
    /// Offsets of suspects whose attempt has ended without killing the process.
    pub cleared: Vec<i64>,
    /// The approximate size of all changes in bytes.
    pub bytes: usize,
}

impl Changes {
    /// Changes that move the position alone.
    pub fn of_position(partition: PartitionId, revision: i64, from: i64, to: i64) -> Self {
        Self {
            partition,
            from,
            to,
            revision,
            entities: Vec::new(),
            reads: Vec::new(),
            windows: Vec::new(),
            waiting: Vec::new(),
            released: Vec::new(),
            outbox: Vec::new(),
            dead_letters: Vec::new(),
            proves: false,
            cleared: Vec::new(),
            bytes: 0,
        }
    }
}

/// The result of a commit for one partition. Only [`Applied`](Committed::Applied) has changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// The changes are in the store.
    Applied {
        /// The partition's new revision, which the next commit compares.
        revision: i64,
    },
    /// The position or the revision is not the one that was read: another owner has changed it.
    Fenced,
    /// A row, a window or a waiting event is not as it was read.
    Conflict,
    /// The changes contain data that the store can never take; the reason. The events of the batch are then run one at a time, to find
    /// the one whose data it is.
    Refused(String),
}

/// An event whose turn has not come or whose attempt failed, with its record byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    /// The record's offset: with the partition, the row's identity.
    pub offset: i64,
    /// The key queue in which it waits: the Kafka key, or a name of its own for a record without a key.
    pub queue: Vec<u8>,
    /// The reason why it waits.
    pub state: WaitingState,
    /// Failed attempts.
    pub attempts: u32,
    /// When it began to wait. Its retry budget runs from here.
    pub since: Timestamp,
    /// When its first attempt failed.
    pub first_failed_at: Option<Timestamp>,
    /// When it is tried again.
    pub due: Timestamp,
    /// The code of the last failure; empty if it has not failed.
    pub error_code: String,
    /// The message of the last failure, at most 1 KiB.
    pub error_message: String,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The payload.
    pub payload: Option<Vec<u8>>,
    /// The headers, as [`RecordRef::encoded_headers`](crate::model::RecordRef::encoded_headers) gives them.
    pub headers: Vec<u8>,
    /// The record's timestamp in milliseconds.
    pub timestamp: Option<i64>,
}

/// The number of waiting events of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WaitingCount {
    /// Keys; each event without a key counts as one.
    pub keys: usize,
    /// Events.
    pub events: usize,
}

/// Why an event waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitingState {
    /// Its attempt failed and is repeated when it is due.
    Retry,
    /// An earlier event of its key waits.
    Behind,
    /// Its processor had not finished when its batch was committed.
    Running,
    /// Only an operator releases it.
    Held(OnExhausted),
}
