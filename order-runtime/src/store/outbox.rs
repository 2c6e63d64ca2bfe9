//! The outbox: records that leave after the transaction that wrote them.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::model::OutgoingRecord;

/// Partitions pause when the outbox holds this many rows that the broker has not acknowledged.
pub(crate) const OUTBOX_LIMIT: u64 = 10_000;

/// The part of the store that holds the outbox.
#[async_trait]
pub trait OutboxStore: Send + Sync + 'static {
    /// The first `limit` rows of the outbox after the row `after`, in order. Of several instances that share a store, one gets them.
    async fn outbox(&self, after: i64, limit: usize) -> Result<Outbox, StoreError>;

    /// Deletes outbox rows that the broker has acknowledged; rows that no longer exist are ignored.
    async fn published(&self, rows: Vec<i64>) -> Result<(), StoreError>;
}

/// A record that is published after the commit of the transaction that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// The offset of the event that caused it.
    pub source_offset: i64,
    /// The record; shared by the store and the producer.
    pub record: Arc<OutgoingRecord>,
}

/// The answer to a request for rows of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbox {
    /// Rows for this instance to publish.
    Rows(Vec<OutboxRow>),
    /// Another instance publishes; the approximate size of the outbox.
    Elsewhere(OutboxSize),
}

/// The size of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxSize {
    /// The number of rows.
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
    /// Its number; rows are published in this order.
    pub id: i64,
    /// The record.
    pub record: Arc<OutgoingRecord>,
}
