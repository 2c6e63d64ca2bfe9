//! The store: positions, entities, deduplication windows, waiting events and the outbox, changed together in one transaction a batch.
//!
//! [`Store`] has four parts, each with its rows in a file of its own: [`PartitionStore`], [`OutboxStore`], [`ReadModel`] and
//! [`LetterStore`]. A [`StoreUrl`] opens a store; no other code chooses between their kinds.

mod columns;
#[cfg(test)]
pub(crate) mod conformance;
pub mod entity;
mod letters;
pub(crate) mod loaded;
pub mod memory;
mod migrations;
mod open;
mod outbox;
mod partitions;
pub mod postgres;
pub mod sqlite;
pub mod table;
#[cfg(test)]
mod upgrade;

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

pub(crate) use self::{entity::Writes, outbox::OUTBOX_LIMIT};
pub use self::{
    entity::{Change, Entity, EntityType, Listed, Page, ReadModel, Row},
    letters::{AuditRow, DeadLetterRow, LetterMark, LetterStore, MarkState},
    open::{Mode, StoreUrl},
    outbox::{Outbox, OutboxRecord, OutboxRow, OutboxSize, OutboxStore},
    partitions::{
        Assigned, Changes, Committed, DedupRow, Load, Loaded, PartitionStore, Suspect, WaitingCount, WaitingRow,
        WaitingState,
    },
};

/// A store of the delivery engine and of the read model.
///
/// All methods may be called from any task; one transaction of [`commit`](PartitionStore::commit) runs at a time.
#[async_trait]
pub trait Store: PartitionStore + OutboxStore + ReadModel + LetterStore {
    /// The kind of store for logs and status: `sqlite`, `postgres` or `memory`.
    fn kind(&self) -> &'static str;

    /// Whether commits survive the process. If they do not, Kafka's committed offset must stay behind all waiting events and
    /// unpublished records; see [`committable`](PartitionStore::committable).
    fn durable(&self) -> bool;

    /// Whether other instances may use it at the same time.
    fn shared(&self) -> bool {
        false
    }

    /// Binds the store to a consumer group at its first start, and returns the store's own id.
    ///
    /// # Errors
    /// [`StoreError::ForeignGroup`] if it belongs to another group.
    async fn claim(&self, group: &str) -> Result<Uuid, StoreError>;

    /// Deletes old rows: the deduplication windows of the next keys from `from` on that were last written before `until`, and dead
    /// letters, marks and audit records older than `until`. Returns the key for the next call; `None` after the last key.
    async fn forget(&self, until: Timestamp, from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError>;

    /// Succeeds if the store can be written to.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Resolves with the reason when later commits would be lost, for example because the store's file was deleted. The process must
    /// then end; commits fail from then on.
    async fn lost(&self) -> String {
        std::future::pending().await
    }

    /// The size of the write-ahead log in bytes, if the store keeps one.
    fn log_bytes(&self) -> Option<u64> {
        None
    }

    /// Completes the pending requests and ends the store's threads.
    async fn close(&self);
}

/// The reason why a request to the store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The same request may succeed later: the store is locked, its disk is full, or the connection is lost.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Data that the store can never take.
    #[error("the store refuses the data: {0}")]
    Refused(String),
    /// The store needs an operator: the file is not a database, its schema is newer, or a permission is missing.
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
