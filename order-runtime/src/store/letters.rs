//! Operators' actions on dead letters: a mark on each letter, and an audit record of each action.

use std::borrow::Cow;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Load, Loaded, PartitionStore, StoreError};
use crate::model::DeadLetterId;

/// The result of an operator's action on a dead letter.
///
/// The same event may be dead-lettered again after a replay; `replays` distinguishes the two letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterMark {
    /// The letter's id.
    #[serde(skip)]
    pub dlq_id: String,
    /// The letter's `dlq-replays`.
    #[serde(skip)]
    pub replays: u32,
    /// The letter's state after the action.
    pub state: MarkState,
    /// The operator's note.
    pub note: String,
    /// The operator.
    pub by: String,
    /// When the letter was marked.
    pub at: Timestamp,
}

/// The state of a dead letter after an operator's action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkState {
    /// Unchanged. A mark of this state removes an earlier mark.
    Open,
    /// It was sent to its topic again, and the broker has acknowledged it.
    Replayed,
    /// It is set aside.
    Parked,
    /// It is discarded.
    Purged,
}

impl MarkState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Open, Self::Replayed, Self::Parked, Self::Purged];

    /// The state's name, as stored and displayed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Parked => "parked",
            Self::Purged => "purged",
        }
    }

    /// The state with this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// One action of an operator. A long action is written several times under the same id, and its numbers are added up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRow {
    /// Its id.
    pub id: Uuid,
    /// When it began.
    pub at: Timestamp,
    /// The operator.
    pub by: String,
    /// The kind of action. On dead letters: `replay`, `edit`, `park`, `unpark`, `purge`. On a range of a topic: `replay_range`.
    /// On waiting keys: `waiting_retry`, `waiting_dead_letter`. On consumption: `pause`, `resume`. On events that were
    /// received over HTTP: `publish`.
    pub action: String,
    /// The number of letters, keys or events; for a range, the number of events with a new outcome.
    pub letters: u64,
    /// The operator's selection, as JSON.
    pub selection: String,
}

/// The part of the store that serves operators' work on dead letters: marks, audit records, and what shows whether a replay would be a
/// repeat.
#[async_trait]
pub trait LetterStore: PartitionStore {
    /// The encoded deduplication window of a key; see `DedupWindow`.
    async fn window(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError>;

    /// Marks dead letters and writes the audit record of the action, in one transaction. An action of several calls writes its record
    /// again under the same id; the numbers of letters add up.
    async fn mark(&self, entry: AuditRow, marks: Vec<LetterMark>) -> Result<(), StoreError>;

    /// The marks on these dead letters, whatever their `replays`, in any order.
    async fn marks(&self, ids: Vec<String>) -> Result<Vec<LetterMark>, StoreError>;

    /// Loads dead letters and windows for an operator. No batch waits for it.
    async fn remembered(&self, dead_letters: Vec<DeadLetterId>, windows: Vec<Vec<u8>>) -> Result<Loaded, StoreError> {
        self.load(Load { windows, dead_letters, ..Load::default() }).await
    }

    /// The last `limit` audit records, the latest first.
    async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, StoreError>;
}

/// A dead letter as the store remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// Its id.
    pub dlq_id: DeadLetterId,
    /// The id of its event.
    pub event_id: String,
    /// The hash of its payload.
    pub hash: u128,
    /// How often its event was replayed before.
    pub replays: u32,
    /// Its reason, for example `rejected`.
    pub reason: Cow<'static, str>,
    /// Its error code.
    pub code: Cow<'static, str>,
    /// When it was written.
    pub at: Timestamp,
}
