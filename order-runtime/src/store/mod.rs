//! The store: positions, entities, the identity of applied events, waiting events and the outbox, changed together
//! in one transaction a batch.

mod columns;
#[cfg(test)]
pub(crate) mod conformance;
pub mod entity;
mod letters;
pub(crate) mod loaded;
pub mod memory;
pub mod postgres;
pub mod sqlite;
#[cfg(test)]
mod upgrade;

use crate::model::{DeadLetterId, OnExhausted, OutgoingRecord, PartitionId};
use std::{any::Any, borrow::Cow, collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

pub use entity::{Change, Entity, EntityType, Listed, Page, Row};
pub use letters::{AuditRow, LetterMark, MarkState};

/// The outbox may hold this many rows that the broker does not take before partitions pause.
pub(crate) const OUTBOX_LIMIT: u64 = 10_000;

/// What the delivery engine and the read model need of a store.
///
/// Every method may be called from any task; one transaction of [`commit`](Store::commit) runs at a time.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// `sqlite`, `memory`, …: for logs and status.
    fn kind(&self) -> &'static str;

    /// Whether what is committed survives the process. Where it does not, Kafka's committed offset must stay behind
    /// everything that is waiting or unpublished; see [`committable`](Store::committable).
    fn durable(&self) -> bool;

    /// Whether other instances may use it at the same time.
    fn shared(&self) -> bool {
        false
    }

    /// Binds the store to a consumer group at its first start, and answers the store's own id.
    ///
    /// # Errors
    /// [`StoreError::ForeignGroup`] when it belongs to another group.
    async fn claim(&self, group: &str) -> Result<Uuid, StoreError>;

    /// Reads what is known of partitions that were just assigned, and counts their start. From now on no commit of an earlier owner
    /// is applied: the revision is a new one. Where the last assignment has not [ended](Store::ended), its owner has died: each event
    /// that was running then, or ran alone, is counted as a suspect. All of them are counted, or none.
    /// The answer has one element for each, in the same order; `None` for a partition without a position.
    async fn assigned(&self, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError>;

    /// Reads what is known of one partition without counting a start: after a lost compare-and-set.
    async fn reload(&self, partition: &PartitionId) -> Result<Option<Assigned>, StoreError>;

    /// Writes the first position of a partition and counts its first start. Where another owner has written it meanwhile, this is an
    /// [assignment](Store::assigned) of the stored one.
    async fn begin(&self, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError>;

    /// Whether any partition of this topic (cluster and topic id) has a position: a further partition is then new
    /// and starts at 0 whatever the reset policy.
    async fn knows_topic(&self, partition: &PartitionId) -> Result<bool, StoreError>;

    /// Loads rows of entities, identity windows and dead letters in one snapshot.
    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError>;

    /// Commits the changes of several partitions in one transaction. Each stands or falls for itself: a conflict of
    /// one leaves the others committed. The answer has one element for each, in the same order.
    ///
    /// # Errors
    /// An error means that the outcome of the whole transaction is unknown. Data that the store can never take is no error of
    /// this method but the answer of its element, [`Committed::Refused`].
    async fn commit(&self, changes: Vec<Arc<Changes>>) -> Result<Vec<Committed>, StoreError>;

    /// The highest offset that Kafka may be told for this partition, given its position: the position itself where
    /// the store is durable, else the lowest offset that is still waiting or in the outbox.
    async fn committable(&self, partition: &PartitionId, position: i64) -> Result<i64, StoreError>;

    /// The first rows of the outbox, in order, behind `after`; of several instances that share a store, one gets them.
    async fn outbox(&self, after: i64, limit: usize) -> Result<Outbox, StoreError>;

    /// Notes that of this partition the event at `offset` runs alone from now on, because owners have died, or that none does.
    /// Answers how often an owner has died while this event ran alone, until a commit [cleared](Changes::cleared) it. An
    /// [assignment](Assigned::assignment) that another one has followed changes nothing and is answered 0.
    async fn runs_alone(
        &self,
        partition: &PartitionId,
        assignment: i64,
        offset: Option<i64>,
    ) -> Result<u32, StoreError>;

    /// Notes that the owners of these partitions have ended without dying, each with the number of its
    /// [assignment](Assigned::assignment): their starts do not count. An assignment that another one has followed is passed over.
    async fn ended(&self, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError>;

    /// Forgets what no repeat will ask for: windows last written before `until`, of the next keys from `from` on, and dead
    /// letters, marks and audit records of before `until`. Answers the key to go on from; `None` behind the last one.
    async fn forget(&self, until: Timestamp, from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError>;

    /// Deletes outbox rows that the broker has acknowledged; those that are gone already are passed over.
    async fn published(&self, rows: Vec<i64>) -> Result<(), StoreError>;

    /// One entity's read model by the text of its id.
    async fn view(&self, entity: EntityType, id: &str) -> Result<Option<serde_json::Value>, StoreError>;

    /// A page of an entity's read model.
    async fn page(&self, entity: EntityType, page: Page) -> Result<Vec<Listed>, StoreError>;

    /// The window of a key, undecoded: see [`DedupWindow`](crate::identity::DedupWindow).
    async fn window(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError>;

    /// Waiting events in the order of their partitions and offsets.
    async fn waiting(&self, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError>;

    /// How much waits in each of these partitions; the answer has one element for each, in the same order.
    async fn count_waiting(&self, partitions: &[PartitionId]) -> Result<Vec<WaitingCount>, StoreError> {
        let mut counts = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let rows = self.reload(partition).await?.map(|stored| stored.waiting).unwrap_or_default();
            let keys = rows.iter().map(|row| &row.queue).collect::<BTreeSet<_>>().len();
            counts.push(WaitingCount { keys, events: rows.len() });
        }
        Ok(counts)
    }

    /// Positions of all partitions.
    async fn positions(&self) -> Result<Vec<(PartitionId, i64)>, StoreError>;

    /// Marks dead letters and writes the record of the action, in one transaction. An action that goes on writes its record
    /// again under the same id; its letters add up.
    async fn mark(&self, entry: AuditRow, marks: Vec<LetterMark>) -> Result<(), StoreError>;

    /// The marks on these dead letters, whatever their `replays`, in any order.
    async fn marks(&self, ids: Vec<String>) -> Result<Vec<LetterMark>, StoreError>;

    /// Loads dead letters and windows for an operator, and not for a batch: no batch waits for it.
    async fn remembered(&self, dead_letters: Vec<DeadLetterId>, windows: Vec<Vec<u8>>) -> Result<Loaded, StoreError> {
        self.load(Load { windows, dead_letters, ..Load::default() }).await
    }

    /// What operators have done, the latest first.
    async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, StoreError>;

    /// Answers when the store can be written to.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Resolves when nothing that is committed from now on would last, because the store's file was deleted, say; with the reason.
    /// The process is to end then: every method answers an error.
    async fn lost(&self) -> String {
        std::future::pending().await
    }

    /// Bytes of the write-ahead log, where the store keeps one.
    fn log_bytes(&self) -> Option<u64> {
        None
    }

    /// Ends the store's threads after what was asked of it is done.
    async fn close(&self);
}

/// What the store knows of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assigned {
    /// The next offset to handle.
    pub next_offset: i64,
    /// Moves with every change; the fence against a former owner.
    pub revision: i64,
    /// Assignments, this one included, whose owner has not ended in order, since a commit [proved](Changes::proves) that
    /// nothing of what was under way kills its owner.
    pub starts: u32,
    /// The number of this assignment, which grows with each.
    pub assignment: i64,
    /// Events that may have killed an owner, in offset order.
    pub suspects: Vec<Suspect>,
    /// Events of this partition whose turn has not come, in offset order.
    pub waiting: Vec<WaitingRow>,
}

/// An event that may have killed an owner of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// Its offset.
    pub offset: i64,
    /// How often it was running when an owner died.
    pub running: u32,
    /// How often it [ran alone](Store::runs_alone) when an owner died.
    pub alone: u32,
}

/// What to load.
#[derive(Debug, Default)]
pub struct Load {
    /// Entity types and a `Vec<T::Id>` each.
    pub entities: Vec<(EntityType, Box<dyn Any + Send>)>,
    /// Keys whose identity windows are wanted.
    pub windows: Vec<Vec<u8>>,
    /// Ids of dead letters that records claim to be replays of.
    pub dead_letters: Vec<DeadLetterId>,
}

/// What was loaded.
#[derive(Debug, Default)]
pub struct Loaded {
    /// For each element of [`Load::entities`] a `Vec<Row<T>>` of those that exist, in any order.
    pub entities: Vec<Box<dyn Any + Send>>,
    /// Those windows that exist.
    pub windows: Vec<DedupRow>,
    /// Those dead letters that exist.
    pub dead_letters: Vec<DeadLetterRow>,
}

/// The identity window of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupRow {
    /// The Kafka key, or a name for the records of a partition that have none.
    pub key: Vec<u8>,
    /// Grows by one with each writing; 0 in a [`Changes`] means that no row may exist.
    pub version: u64,
    /// The encoded window.
    pub bytes: Vec<u8>,
}

/// Everything that one batch of one partition changes. It stands or falls as one.
///
/// No entity, key or offset occurs twice in the same list. What is released goes before what waits from now on.
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
    /// Deduplication windows written, in the order of their keys, so that neighbours in a tree are changed one after the other; `version` is
    /// the one that was read.
    pub windows: Vec<DedupRow>,
    /// Events that wait from now on, or wait with a new state.
    pub waiting: Vec<WaitingRow>,
    /// Offsets of events that no longer wait; each must be there.
    pub released: Vec<i64>,
    /// Records to publish.
    pub outbox: Vec<OutboxRecord>,
    /// Dead letters to remember; shared, since a store without a disk keeps them.
    pub dead_letters: Vec<Arc<DeadLetterRow>>,
    /// Whether everything has been settled that was under way when an earlier owner died: its death counts no more.
    pub proves: bool,
    /// Offsets of suspects whose attempt has ended, so that they have killed nobody.
    pub cleared: Vec<i64>,
    /// About how many bytes all this is.
    pub bytes: usize,
}

impl Changes {
    /// Changes of nothing but the position.
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

/// How the changes of one partition fared. Only those that are [`Applied`](Committed::Applied) have changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// They are in the store; the partition's new revision.
    Applied {
        /// The revision to compare next.
        revision: i64,
    },
    /// The position or the revision is not the one that was read: somebody else has moved it.
    Fenced,
    /// A row, a window or a waiting event is not as it was read.
    Conflict,
    /// Data among them that the store can never take, and why: run the batch again event by event to find whose it is.
    Refused(String),
}

/// An event whose turn has not come or whose attempt failed, with its record byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRow {
    /// The record's offset: with the partition, the row's identity.
    pub offset: i64,
    /// The queue it waits in: the Kafka key, or a name of its own for a record without one.
    pub queue: Vec<u8>,
    /// Why it waits.
    pub state: WaitingState,
    /// Failed attempts.
    pub attempts: u32,
    /// When it came to wait first; its budget runs from here.
    pub since: Timestamp,
    /// When its first attempt failed.
    pub first_failed_at: Option<Timestamp>,
    /// When it is tried again.
    pub due: Timestamp,
    /// The code of the last failure; empty where it has not failed.
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

/// How much waits in a partition.
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
    /// Its attempt failed and is repeated when due.
    Retry,
    /// An earlier event of its key waits.
    Behind,
    /// Its processor had not finished when its batch was committed.
    Running,
    /// Only an operator releases it.
    Held(OnExhausted),
}

/// A record that leaves after the transaction that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// The offset of the event that it comes from.
    pub source_offset: i64,
    /// The record; shared, since it goes from here to the store and to the producer.
    pub record: Arc<OutgoingRecord>,
}

/// What an instance sees of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbox {
    /// Rows that it is to publish.
    Rows(Vec<OutboxRow>),
    /// Another instance publishes; about how much there is.
    Elsewhere(OutboxSize),
}

/// How much the outbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxSize {
    /// Rows.
    pub rows: u64,
    /// The bytes of their keys, payloads and headers.
    pub bytes: u64,
}

impl OutboxSize {
    pub(crate) fn add(&mut self, other: Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        self.rows = self.rows.saturating_sub(other.rows);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number; rows leave in this order.
    pub id: i64,
    /// The record.
    pub record: Arc<OutgoingRecord>,
}

/// What the store remembers of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// Its id.
    pub dlq_id: DeadLetterId,
    /// The id of its event.
    pub event_id: String,
    /// The hash of its payload.
    pub hash: u128,
    /// How often it was replayed before.
    pub replays: u32,
    /// Its reason, `rejected` say.
    pub reason: Cow<'static, str>,
    /// Its error code.
    pub code: Cow<'static, str>,
    /// When it was written.
    pub at: Timestamp,
}

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It may work later: locked, disk full, connection lost.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Data that the store can never take.
    #[error("the store refuses the data: {0}")]
    Refused(String),
    /// It will not work until somebody acts: not a database, a newer schema, no permission.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
    /// The store belongs to another consumer group.
    #[error(
        "the store belongs to the consumer group `{owner}`, not to `{asked}`; set KAFKA_GROUP_ID={owner}, or STORE_URL to another store"
    )]
    ForeignGroup {
        /// The group in the store.
        owner: String,
        /// The group that was asked for.
        asked: String,
    },
}
