//! The ids of dead letters, and what operators have done: a mark on each letter, and an audit record of each action.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// What became of a dead letter by an operator's action.
///
/// The same event may be dead-lettered again after a replay; `replays` tells the two letters apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterMark {
    /// The letter's id.
    #[serde(skip)]
    pub dlq_id: String,
    /// The letter's `dlq-replays`.
    #[serde(skip)]
    pub replays: u32,
    /// What became of it.
    pub state: MarkState,
    /// What the operator said of it.
    pub note: String,
    /// Who it was.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkState {
    /// Nothing. A mark of this state takes an earlier one away.
    Open,
    /// It was sent to its topic again, and acknowledged.
    Replayed,
    /// It is set aside.
    Parked,
    /// It is to be forgotten.
    Purged,
}

impl MarkState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Replayed, Self::Parked, Self::Purged];

    /// Its name, as it is kept and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Parked => "parked",
            Self::Purged => "purged",
        }
    }

    /// The state of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// One action of an operator. It grows while the action goes on: written again under the same id, the numbers add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRow {
    /// Its id.
    pub id: Uuid,
    /// When it began.
    pub at: Timestamp,
    /// Who it was.
    pub by: String,
    /// What was done: to dead letters `replay`, `edit`, `park`, `unpark`, `purge`; to a range of a topic `replay_range`; to keys
    /// that wait `waiting_retry`, `waiting_dead_letter`; to consumption `pause`, `resume`; with events that came over HTTP `publish`.
    pub action: String,
    /// To how many letters, keys or events; of a range, how many events had an outcome that was new.
    pub letters: u64,
    /// Which were meant, as JSON.
    pub selection: String,
}
