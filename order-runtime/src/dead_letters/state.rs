//! The state of letters since they were written, from the store's marks, dead letters and deduplication windows.

use std::collections::HashMap;

use serde::Serialize;

use super::{DeadLetterError, DeadLetterService, Letter};
use crate::{
    headers::HeaderFormat,
    identity::{DedupWindow, EventOutcome, payload_hash, window_key_of},
    model::{DeadLetterId, TopicPattern},
    store::{DeadLetterRow, LetterMark, MarkState},
};

/// The state of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// No operator has acted on it, and its event has not failed again.
    Open,
    /// It was sent to its topic again.
    Replayed,
    /// It is set aside, until it is unparked.
    Parked,
    /// It is set aside for good.
    Purged,
    /// Its event has failed again since; the later letter replaces it.
    Superseded,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Parked => "parked",
            Self::Purged => "purged",
            Self::Superseded => "superseded",
        }
    }
}

/// A letter with its state and what the store knows of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClassifiedLetter {
    #[serde(flatten)]
    pub(crate) letter: Letter,
    pub(crate) state: State,
    /// The mark of the last operator's action on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<LetterMark>,
    /// The store's row of the letter.
    #[serde(skip)]
    pub(super) known: Option<DeadLetterRow>,
    /// The outcome of its event, if the key's deduplication window remembers it.
    #[serde(skip)]
    pub(super) outcome: Option<EventOutcome>,
}

impl ClassifiedLetter {
    /// The letter's defect; `None` if it can be replayed as it is.
    pub(super) fn defect(&self, service: &DeadLetterService) -> Option<Defect> {
        let letter = &self.letter;
        let Some(format) = letter.format else { return Some(Defect::NoLetter) };
        let Some(topic) = &letter.origin.topic else { return Some(Defect::Damaged) };
        let is_placed = letter.has_own_id && letter.origin.partition.is_some() && letter.origin.offset.is_some();
        if format == HeaderFormat::Dlq && !is_placed {
            return Some(Defect::Damaged);
        }
        if !TopicPattern::any_matches(&service.topics, topic) {
            return Some(Defect::ForeignTopic);
        }
        let remembered = self.known.as_ref().filter(|row| row.replays == letter.replays);
        if remembered.is_some_and(|row| row.hash != payload_hash(letter.record.payload.as_deref())) {
            return Some(Defect::Altered);
        }
        None
    }
}

/// Why a record cannot be replayed as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Defect {
    /// It has no dead-letter headers of a known format.
    NoLetter,
    /// Its headers do not say where it came from.
    Damaged,
    /// It came from a topic that the service does not read. A writer of the dead-letter topic must not be able to choose where
    /// the service writes.
    ForeignTopic,
    /// Its payload is not the one that was dead-lettered.
    Altered,
}

impl Defect {
    /// The defect as text for people.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::NoLetter => "it has no dead-letter headers of a known format",
            Self::Damaged => "its headers are damaged: they do not say where it came from",
            Self::ForeignTopic => "it came from a topic that KAFKA_TOPIC does not contain",
            Self::Altered => "its payload is not the one that was dead-lettered",
        }
    }
}

impl DeadLetterService {
    /// Looks up the states of letters; with `outcomes` also the outcomes of their events, which loads one window per key.
    pub(super) async fn classify(
        &self,
        letters: Vec<Letter>,
        outcomes: bool,
    ) -> Result<Vec<ClassifiedLetter>, DeadLetterError> {
        let Some(store) = &self.store else {
            let open = |letter| ClassifiedLetter { letter, state: State::Open, mark: None, known: None, outcome: None };
            return Ok(letters.into_iter().map(open).collect());
        };
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<String> = letters.iter().map(|letter| letter.id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut windows: Vec<Vec<u8>> = if outcomes {
            letters.iter().filter_map(|letter| letter.record.key.as_deref().map(window_key_of)).collect()
        } else {
            Vec::new()
        };
        windows.sort_unstable();
        windows.dedup();
        let dead_letters = ids.iter().filter_map(|id| DeadLetterId::parse(id.as_bytes())).collect();
        let marks = store.marks(ids).await?;
        let loaded = store.remembered(dead_letters, windows).await?;
        let marks: HashMap<_, _> = marks.into_iter().map(|mark| ((mark.dlq_id.clone(), mark.replays), mark)).collect();
        let rows: HashMap<_, _> = loaded.dead_letters.into_iter().map(|row| (row.dlq_id, row)).collect();
        // If a window cannot be read, the outcomes of its events are unknown.
        let windows: HashMap<_, _> = loaded
            .windows
            .into_iter()
            .filter_map(|window| Some((window.key, DedupWindow::from_bytes(window.bytes).ok()?)))
            .collect();
        let classified = letters.into_iter().map(|letter| {
            let id = DeadLetterId::parse(letter.id.as_bytes()).filter(|_| letter.format == Some(HeaderFormat::Dlq));
            let known = id.and_then(|id| rows.get(&id).cloned());
            let mark = marks.get(&(letter.id.clone(), letter.replays)).cloned();
            let window = letter.record.key.as_deref().and_then(|key| windows.get(&window_key_of(key)));
            let event_id = known.as_ref().map(|row| &*row.event_id).or_else(|| letter.own_id());
            let entry = window.zip(event_id).and_then(|(window, id)| window.find(id, letter.source()));
            let outcome = entry.map(|entry| entry.outcome);
            let state = match &mark {
                Some(mark) if mark.state == MarkState::Purged => State::Purged,
                _ if known.as_ref().is_some_and(|row| row.replays > letter.replays) => State::Superseded,
                Some(mark) if mark.state == MarkState::Replayed => State::Replayed,
                Some(mark) if mark.state == MarkState::Parked => State::Parked,
                _ => State::Open,
            };
            ClassifiedLetter { letter, state, mark, known, outcome }
        });
        Ok(classified.collect())
    }
}
