//! Operations on dead letters: list, show, replay, edit, park and purge.
//!
//! The command line and HTTP share one [`DeadLetterService`]. It reads the dead-letter topic in windows, never as a whole. The
//! store keeps a mark on each letter that an operator acted on, and an audit record of each action. A replay marks its letters
//! batch by batch, when the broker has acknowledged them. So a killed replay continues where it stopped when the same request is
//! repeated, and at most one batch is published twice. The engine counts each event once.
//!
//! | module | the question it answers |
//! |---|---|
//! | `letter` | how is a record of the dead-letter topic read as a letter? |
//! | `json` | how is a payload shown without changing its numbers? |
//! | `selection` | which letters are selected? |
//! | `source`, `backwards` | how is the topic read, forwards or from its end? |
//! | `state` | which state does a letter have now? |
//! | `trial` | how would this build handle a letter's event? |
//! | `list`, `show` | how are letters listed and shown? |
//! | `replay`, `pace` | how do letters go back to their topic, and how fast? |
//! | `destination` | where does a letter go if its topic has changed? |
//! | `edit` | how is a letter corrected? |
//! | `set_aside` | how are letters parked and purged? |

mod backwards;
mod destination;
mod edit;
mod json;
mod letter;
mod list;
mod pace;
mod replay;
mod selection;
mod set_aside;
mod show;
mod source;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod trial;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

pub(crate) use self::{
    backwards::{Cursor, Direction},
    edit::{EditError, Edited},
    letter::Letter,
    list::{Counts, ListRequest, Listing},
    pace::{Pace, rate},
    replay::{LetterReplay, Summary},
    selection::{Filter, LetterSelection, time},
    set_aside::{AsideSummary, Disposition, SetAside},
    show::Shown,
    source::{KafkaSource, Source},
    state::ClassifiedLetter,
};
use crate::{
    broker::{BrokerError, PublishError},
    model::TopicPattern,
    registry::Registry,
    store::{AuditRow, Store, StoreError},
};

/// All operations on dead letters.
#[derive(Clone)]
pub(crate) struct DeadLetterService {
    pub(crate) source: Arc<dyn Source>,
    /// `None` if the store cannot be opened: the state of letters is then unknown, and every action is refused.
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) registry: Arc<Registry>,
    /// The topics that the service reads: names, or patterns that start with `^`.
    pub(crate) topics: Vec<TopicPattern>,
    /// Limits the part of the topic that one list or look-up reads; `None` reads the whole topic.
    pub(crate) budget: Option<Budget>,
}

/// Limits the part of the topic that one list or look-up reads, from the end of the topic. The answer says how many records were
/// read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Time limit of reading.
    pub(crate) time: Duration,
    /// Reading stops after the step that reaches this number of records.
    pub(crate) records: u64,
}

/// Why an operation failed, or was done only in part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeadLetterError {
    /// The dead-letter topic cannot be read.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store failed or is not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record was not published.
    #[error("{0}; acknowledged letters are marked, so the same command continues from here")]
    Publish(PublishError),
    /// There is no such letter.
    #[error("there is no dead letter {0}; `dlq list` shows all")]
    Unknown(String),
    /// The letter is not in the part of the topic that was read.
    #[error("there is no dead letter {id} among the {read} records read of {of}; `dlq show` reads all")]
    NotAmong {
        /// The id that was requested.
        id: String,
        /// Records that were read, backwards from the end or from the given cursor.
        read: u64,
        /// Records that exist before that point.
        of: u64,
    },
    /// Nothing was read within the budget's time.
    #[error(
        "no dead letters could be read within {0:?}; check the broker and the store, or use `dlq list`, which has no time limit"
    )]
    TooSlow(Duration),
    /// The letter does not allow this operation.
    #[error("the dead letter {id} is left unchanged: {why}")]
    Refused {
        /// The letter's id.
        id: String,
        /// The reason, and a remedy if there is one.
        why: String,
    },
}

impl DeadLetterService {
    fn store(&self) -> Result<&Arc<dyn Store>, StoreError> {
        self.store.as_ref().ok_or_else(|| StoreError::Unusable("it is not open".to_owned()))
    }

    /// The direction in which a list or look-up reads the topic: backwards if there is a budget.
    fn direction(&self, before: Option<Cursor>) -> Direction {
        if self.budget.is_some() { Direction::Back(before) } else { Direction::Forwards }
    }

    /// Runs `reading` to its end, or until the budget's time is over.
    async fn in_time(&self, reading: impl Future<Output = Result<(), DeadLetterError>>) -> Result<(), DeadLetterError> {
        match self.budget {
            None => reading.await,
            Some(budget) => tokio::time::timeout(budget.time, reading).await.unwrap_or(Ok(())),
        }
    }
}

/// Logs an operator's action and returns its audit record, with a count of 0.
pub(crate) fn start_audit(by: &str, action: &str, selection: &impl Serialize) -> AuditRow {
    let selection = serde_json::to_string(selection).unwrap_or_default();
    tracing::warn!(by, action, selection, "operator action started");
    AuditRow {
        id: Uuid::new_v4(),
        at: Timestamp::now(),
        by: by.to_owned(),
        action: action.to_owned(),
        letters: 0,
        selection,
    }
}
