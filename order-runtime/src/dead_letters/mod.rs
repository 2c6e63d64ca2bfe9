//! The life of dead letters after they were written: looking, replaying, editing, setting aside, forgetting.
//!
//! The command line and HTTP are two ways to one [`DeadLetterService`]. The letters lie in the dead-letter topic and are read in windows,
//! never as a whole. What operators do with them lies in the store: a mark on each letter, and an audit record of each action.
//! A letter is marked as replayed when its publication is acknowledged, batch by batch; so a replay that was killed goes on
//! where it was when it is asked for again, and at most one batch is published twice. The engine lets each event count once.
//!
//! | module | the question it answers |
//! |---|---|
//! | `families` | which headers do dead letters have, ours and those of other frameworks? |
//! | `letter` | what does a record of the dead-letter topic say? |
//! | `json` | how is a payload shown, with its numbers as they were written? |
//! | `selection` | which letters are meant? |
//! | `source`, `backwards` | how is the topic read, from either end? |
//! | `state` | what became of a letter since? |
//! | `trial` | what would this build do with it? |
//! | `list`, `show` | what is there? |
//! | `replay`, `pace` | how do letters go back to their topic, and how fast? |
//! | `destination` | where does a letter go whose topic has changed since? |
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
    list::{Asked, Counts, Listing},
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
    registry::Registry,
    store::{AuditRow, Store, StoreError},
};

/// Where letters are looked at and dealt with.
#[derive(Clone)]
pub(crate) struct DeadLetterService {
    pub(crate) source: Arc<dyn Source>,
    /// `None` where it cannot be read; nothing is then known of what became of letters, and nothing can be done with them.
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) registry: Arc<Registry>,
    /// The topics that the service reads: names, or patterns that start with `^`.
    pub(crate) topics: Vec<String>,
    /// How much of the topic is read for a question; `None` where it may take as long as it takes.
    pub(crate) budget: Option<Budget>,
}

/// How much of the topic is read at most for one question, from its end: what was asked for is then found or not, and the answer
/// says how far it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// What the answer may take.
    pub(crate) time: Duration,
    /// Records after which no more are read.
    pub(crate) records: u64,
}

/// Why something is not done, or only in part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeadLetterError {
    /// The dead-letter topic cannot be read.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something was not published.
    #[error("{0}; what was acknowledged before is marked, so the same command goes on from here")]
    Publish(PublishError),
    /// There is no such letter.
    #[error("there is no dead letter {0}; `dlq list` shows those there are")]
    Unknown(String),
    /// There is none as far as the topic was read.
    #[error("there is no dead letter {id} among the {read} records read of {of}; `dlq show` reads all")]
    NotAmong {
        /// Which letter.
        id: String,
        /// Records that were read, from the end or from the place that was asked for.
        read: u64,
        /// Records there are from there on.
        of: u64,
    },
    /// Nothing could be read in time.
    #[error(
        "no dead letters could be read within {0:?}; look at the broker and the store, or use `dlq list`, which waits"
    )]
    TooSlow(Duration),
    /// The letter may not be dealt with so.
    #[error("the dead letter {id} is left alone: {why}")]
    Refused {
        /// Which letter.
        id: String,
        /// Why, and what to do.
        why: String,
    },
}

impl DeadLetterService {
    fn store(&self) -> Result<&Arc<dyn Store>, StoreError> {
        self.store.as_ref().ok_or_else(|| StoreError::Unusable("it is not open".to_owned()))
    }

    /// How the topic is read for a question.
    fn direction(&self, before: Option<Cursor>) -> Direction {
        if self.budget.is_some() { Direction::Back(before) } else { Direction::Forwards }
    }

    /// Reads until the end, or until the budget's time is over.
    async fn in_time(&self, reading: impl Future<Output = Result<(), DeadLetterError>>) -> Result<(), DeadLetterError> {
        match self.budget {
            None => reading.await,
            Some(budget) => tokio::time::timeout(budget.time, reading).await.unwrap_or(Ok(())),
        }
    }
}

/// The record of an action that begins now.
pub(crate) fn begun(by: &str, action: &str, selection: &impl Serialize) -> AuditRow {
    let selection = serde_json::to_string(selection).unwrap_or_default();
    tracing::warn!(by, action, selection, "an operator acts");
    AuditRow {
        id: Uuid::new_v4(),
        at: Timestamp::now(),
        by: by.to_owned(),
        action: action.to_owned(),
        letters: 0,
        selection,
    }
}
