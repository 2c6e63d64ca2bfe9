//! Refused records: which rows stay in the store because their topic refuses them, why, and when they are tried again.
//!
//! | refused | consequence |
//! |---|---|
//! | the whole topic: it does not exist, or the service may not write to it | its rows keep their order and wait; the first of them is tried again |
//! | one record: it is too large, or invalid | its row is set aside and tried again alone; it holds back no other row |
//!
//! No record is dropped or changed, except that a dead letter that is too large is published without its optional headers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinHandle, time::Instant};
use tracing::{error, info};

use super::RelayPace;
use crate::{
    broker::{Acknowledged, PublishError},
    store::{OutboxRow, OutboxSize},
};

/// The interval at which rows that were set aside are tried again, because the topic's settings may have changed.
pub(super) const SET_ASIDE_AGAIN: Duration = Duration::from_secs(10);
/// The maximum number of rows that are sent alone in one round. Each of them costs a round trip to the broker.
pub(super) const ALONE: usize = 32;

/// The answer to a record that is sent on trial.
pub(super) type Trial = JoinHandle<Vec<Result<Acknowledged, PublishError>>>;

/// The refused rows and topics that the relay knows.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    topics: BTreeMap<Arc<str>, RefusingTopic>,
    /// Rows that were refused together with others, perhaps only because of those; they are sent alone.
    suspects: BTreeSet<i64>,
    set_aside: BTreeMap<i64, SetAside>,
    /// Set-aside rows that are tried again in this pass.
    due: BTreeSet<i64>,
    /// When the next set-aside rows are tried again.
    again: Option<Instant>,
    /// The last set-aside row that was tried again. The next turn begins behind it.
    tried: i64,
    /// Why records of a topic are set aside: the broker's last answer.
    reasons: BTreeMap<(Arc<str>, Cause), String>,
    /// The refused rows that this pass has seen; the others no longer exist and are forgotten at its end.
    met: BTreeSet<i64>,
}

/// A topic that refuses all records.
#[derive(Debug)]
struct RefusingTopic {
    reason: String,
    /// The number of rows that wait for it, as counted by the last pass.
    rows: u64,
    counted: u64,
    again: Instant,
    pace: RelayPace,
    trial: Option<(OutboxRow, Trial)>,
}

#[derive(Debug)]
struct SetAside {
    topic: Arc<str>,
    cause: Cause,
}

/// Why a single record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    TooLarge,
    Invalid,
}

/// How and when a row is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// With others.
    Together,
    /// Alone; `holds_its_key` says whether later rows of its key wait for it.
    Alone { holds_its_key: bool },
    /// Alone and without waiting for the answer, to test whether its topic accepts records again.
    OnTrial,
    /// Not in this pass.
    Later,
}

impl Refusals {
    /// Begins a pass over the outbox. Returns the rows that were published on trial.
    pub(super) async fn begin_pass(&mut self) -> Vec<OutboxRow> {
        let mut left = Vec::new();
        let mut open = Vec::new();
        for (topic, refusing) in &mut self.topics {
            refusing.counted = 0;
            let Some((row, trial)) = refusing.trial.take_if(|(_, trial)| trial.is_finished()) else { continue };
            let answer = trial.await.ok().and_then(|answers| answers.into_iter().next());
            match answer {
                Some(Ok(_)) => {
                    left.push(row);
                    open.push(Arc::clone(topic));
                }
                // The topic accepts records, but not this one.
                Some(Err(PublishError::TooLarge { .. } | PublishError::Invalid { .. })) => {
                    self.suspects.insert(row.id);
                    open.push(Arc::clone(topic));
                }
                Some(Err(PublishError::Refused { reason, .. } | PublishError::Transient { reason, .. })) => {
                    refusing.reason = reason;
                    refusing.again = Instant::now() + refusing.pace.next();
                }
                None => refusing.again = Instant::now() + refusing.pace.next(),
            }
        }
        for topic in open {
            self.topics.remove(&topic);
            info!(topic = &*topic, "the topic takes dead letters and emitted events again");
        }
        self.met.clear();
        if self.again.is_some_and(|again| again <= Instant::now()) {
            let behind = self.set_aside.range(self.tried + 1..).chain(self.set_aside.range(..=self.tried));
            self.due = behind.map(|(row, _)| *row).take(ALONE).collect();
            self.again = Some(Instant::now() + SET_ASIDE_AGAIN);
        }
        left
    }

    /// How and when a row is sent. Called once for each row of a pass, in order.
    pub(super) fn turn(&mut self, row: &OutboxRow) -> Turn {
        if self.set_aside.contains_key(&row.id) {
            self.met.insert(row.id);
            return if self.due.contains(&row.id) { Turn::Alone { holds_its_key: false } } else { Turn::Later };
        }
        if let Some(refusing) = self.topics.get_mut(&row.record.topic) {
            let is_first = refusing.counted == 0;
            refusing.counted += 1;
            let is_due = is_first && refusing.trial.is_none() && refusing.again <= Instant::now();
            return if is_due { Turn::OnTrial } else { Turn::Later };
        }
        if self.suspects.contains(&row.id) {
            self.met.insert(row.id);
            return Turn::Alone { holds_its_key: true };
        }
        Turn::Together
    }

    /// Records that the row was sent on trial to a topic that has refused others.
    pub(super) fn on_trial(&mut self, row: OutboxRow, trial: Trial) {
        if let Some(refusing) = self.topics.get_mut(&row.record.topic) {
            refusing.trial = Some((row, trial));
        }
    }

    /// Records that the topic refuses all records.
    pub(super) fn refused_by_topic(&mut self, row: &OutboxRow, reason: &str) {
        let topic = &row.record.topic;
        let refusing = self.topics.entry(Arc::clone(topic)).or_insert_with(|| {
            error!(
                topic = &**topic,
                reason,
                "the topic refuses all records; they stay in the store: create it, or allow the service to write to it"
            );
            let mut pace = RelayPace::default();
            let again = Instant::now() + pace.next();
            RefusingTopic { reason: reason.to_owned(), rows: 0, counted: 0, again, pace, trial: None }
        });
        refusing.counted += 1;
    }

    /// Records that the row was refused together with others; it is sent alone next.
    pub(super) fn refused_together(&mut self, row: i64) {
        self.suspects.insert(row);
        self.met.insert(row);
    }

    /// Sets a row aside that was refused alone, because of its record.
    pub(super) fn refused_alone(&mut self, row: &OutboxRow, error: &PublishError) {
        let (cause, reason) = match error {
            PublishError::TooLarge { .. } => (Cause::TooLarge, String::new()),
            PublishError::Invalid { reason, .. } | PublishError::Refused { reason, .. } => {
                (Cause::Invalid, reason.clone())
            }
            PublishError::Transient { .. } => return,
        };
        let topic = &row.record.topic;
        self.suspects.remove(&row.id);
        self.tried = row.id;
        self.met.insert(row.id);
        self.again.get_or_insert_with(|| Instant::now() + SET_ASIDE_AGAIN);
        self.set_aside.insert(row.id, SetAside { topic: Arc::clone(topic), cause });
        if self.reasons.insert((Arc::clone(topic), cause), reason).is_none() {
            let reported = self.explained(topic, cause, 1);
            error!(row = row.id, "{reported}");
        }
    }

    /// Records that the row was published.
    pub(super) fn left(&mut self, row: i64) {
        self.suspects.remove(&row);
        if let Some(SetAside { topic, cause }) = self.set_aside.remove(&row) {
            // The change that let this row through may let the others through, too.
            let alike = self.set_aside.iter().filter(|(_, aside)| aside.topic == topic && aside.cause == cause);
            self.suspects.extend(alike.map(|(row, _)| *row));
            self.set_aside.retain(|_, aside| aside.topic != topic || aside.cause != cause);
        }
    }

    /// Whether rows must be sent alone as soon as possible.
    pub(super) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Ends a pass that has seen every row.
    pub(super) fn end_pass(&mut self) {
        self.due.clear();
        let Self { set_aside, suspects, reasons, met, again, .. } = self;
        set_aside.retain(|row, _| met.contains(row));
        suspects.retain(|row| met.contains(row));
        reasons
            .retain(|(topic, cause), _| set_aside.values().any(|aside| aside.topic == *topic && aside.cause == *cause));
        if set_aside.is_empty() {
            *again = None;
        }
        self.topics.retain(|_, refusing| {
            refusing.rows = refusing.counted;
            refusing.counted > 0 || refusing.trial.is_some()
        });
    }

    /// Forgets everything, because another instance publishes now.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// When the next row is tried again; `None` if there is none.
    pub(super) fn next(&self) -> Option<Instant> {
        let topics = self.topics.values().filter(|refusing| refusing.trial.is_none()).map(|refusing| refusing.again);
        topics.chain(self.again).min()
    }

    /// The number of refused rows.
    pub(super) fn rows(&self) -> u64 {
        self.set_aside.len() as u64 + self.topics.values().map(|refusing| refusing.rows).sum::<u64>()
    }

    /// Why rows are refused: one text for each topic and cause.
    pub(super) fn explain(&self) -> Vec<String> {
        let topics = self.topics.iter().map(|(topic, RefusingTopic { reason, rows, .. })| {
            format!(
                "the topic {topic} does not take dead letters and emitted events ({reason}); {rows} wait in the store: \
                 create the topic, or allow the service to write to it"
            )
        });
        let set_aside = self.reasons.keys().map(|(topic, cause)| {
            let alike = self.set_aside.values().filter(|aside| aside.topic == *topic && aside.cause == *cause);
            self.explained(topic, *cause, alike.count())
        });
        topics.chain(set_aside).collect()
    }

    fn explained(&self, topic: &Arc<str>, cause: Cause, rows: usize) -> String {
        match cause {
            Cause::TooLarge => format!(
                "the topic {topic} refuses records that are too large for it; {rows} stay in the store: raise the topic's \
                 max.message.bytes"
            ),
            Cause::Invalid => {
                let reason = self.reasons.get(&(Arc::clone(topic), cause)).map_or("", String::as_str);
                format!(
                    "the topic {topic} refuses records as invalid ({reason}); {rows} stay in the store: a topic with \
                     cleanup.policy=compact takes no record without a key, set its cleanup.policy to delete"
                )
            }
        }
    }
}

impl Drop for RefusingTopic {
    fn drop(&mut self) {
        if let Some((_, trial)) = self.trial.take() {
            trial.abort();
        }
    }
}

/// The size of a row.
pub(super) fn size(row: &OutboxRow) -> OutboxSize {
    OutboxSize { rows: 1, bytes: row.record.size() as u64 }
}
