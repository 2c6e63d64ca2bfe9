//! Showing one letter in full.

use std::sync::Arc;

use serde::Serialize;

use super::{
    ClassifiedLetter, Cursor, DeadLetterError, DeadLetterService, Letter,
    json::Json,
    state::{Defect, State},
    trial::{Trial, trial},
};
use crate::identity::EventOutcome;

/// Maximum number of a letter's writings that are kept, the latest included. An event that fails again after a replay writes its
/// letter again.
const EARLIER: usize = 100;

/// A letter with everything that is known about it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) classified: ClassifiedLetter,
    /// Headers in their original order, as text.
    pub(crate) headers: Vec<(String, Option<String>)>,
    /// The payload, if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<Json>,
    /// The payload as text; JSON is formatted over several lines. Its numbers are as they were written, which most JSON parsers
    /// would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_text: Option<String>,
    /// How this build would handle its event.
    pub(crate) trial: Trial,
    /// The outcome of its event, if the key's deduplication window remembers it.
    #[serde(rename = "eventFate")]
    pub(crate) event_outcome: Option<EventOutcome>,
    /// Why it cannot be replayed as it is.
    #[serde(rename = "flaw", skip_serializing_if = "Option::is_none")]
    pub(crate) defect: Option<Defect>,
    /// Earlier writings of the letter, before it was replayed and failed again.
    pub(crate) earlier: Vec<ClassifiedLetter>,
}

impl DeadLetterService {
    /// Finds the latest writing of a letter, and the earlier ones without payloads. With a budget, reads the topic backwards from
    /// its end, or from `before`, until the budget is used up.
    pub(super) async fn find(
        &self,
        id: &str,
        before: Option<Cursor>,
    ) -> Result<(ClassifiedLetter, Vec<ClassifiedLetter>), DeadLetterError> {
        let wanted = id.to_owned();
        let mut windows =
            self.source.read(Arc::new(move |letter: &Letter| letter.id == wanted), self.direction(before));
        let mut found: Vec<Letter> = Vec::new();
        let (mut read, mut of, mut left) = (0, 0, true);
        let reading = async {
            while let Some(window) = windows.recv().await {
                let window = window?;
                (read, of) = (window.read, window.of);
                window.letters.into_iter().for_each(|letter| add_writing(&mut found, letter));
                let Some(rest) = window.rest else { continue };
                left = rest.records() > 0;
                if self.budget.is_some_and(|budget| is_whole(&found) || read >= budget.records) {
                    break;
                }
            }
            Ok(())
        };
        self.in_time(reading).await?;
        let mut classified = self.classify(found, true).await?;
        let id = id.to_owned();
        let latest = classified.pop().ok_or(if left {
            DeadLetterError::NotAmong { id, read, of }
        } else {
            DeadLetterError::Unknown(id)
        })?;
        Ok((latest, classified))
    }

    /// Shows a letter; for `before`, see [`find`](Self::find).
    pub(crate) async fn show(&self, id: &str, before: Option<Cursor>) -> Result<Shown, DeadLetterError> {
        let (classified, earlier) = self.find(id, before).await?;
        let original = &classified.letter.record;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = original.headers.iter().map(|(name, value)| (text(name), value.map(text))).collect();
        let payload = original.payload.as_deref();
        let json = payload.and_then(Json::read);
        let batch = super::letter::batch_of(&crate::model::OutgoingRecord {
            topic: "".into(),
            partition: None,
            key: original.key.clone(),
            payload: original.payload.clone(),
            headers: original.headers.clone(),
            timestamp: None,
        });
        let trial = batch.get(0).map(|record| trial(&self.registry, &record).1);
        Ok(Shown {
            headers,
            payload_text: json.as_ref().map(Json::pretty).or_else(|| payload.map(text)),
            payload: json,
            trial: trial.unwrap_or(Trial::Invalid { errors: Vec::new() }),
            event_outcome: classified.outcome,
            defect: classified.defect(self),
            earlier,
            classified,
        })
    }
}

/// Adds a writing of a letter to those found, ordered by replays; only the last one keeps its payload.
fn add_writing(found: &mut Vec<Letter>, letter: Letter) {
    if found.iter().any(|known| known.replays == letter.replays) {
        return;
    }
    found.push(letter);
    found.sort_by_key(|letter| letter.replays);
    if found.len() > EARLIER {
        found.remove(0);
    }
    if let Some((_, earlier)) = found.split_last_mut() {
        for letter in earlier {
            letter.record = super::letter::Original::default();
        }
    }
}

/// Whether every writing of a letter was found, by the replay count of the last one, or the maximum number is reached.
fn is_whole(found: &[Letter]) -> bool {
    found.last().is_some_and(|last| found.len() as u64 > u64::from(last.replays) || found.len() >= EARLIER)
}

impl ClassifiedLetter {
    /// Refuses a letter that was replayed, purged or superseded.
    pub(super) fn still_there(&self) -> Result<(), DeadLetterError> {
        let why = match self.state {
            State::Open | State::Parked => return Ok(()),
            State::Replayed => "it was already replayed",
            State::Purged => "it is purged",
            State::Superseded => "its event has failed again since; use the later letter",
        };
        Err(DeadLetterError::Refused { id: self.letter.id.clone(), why: why.to_owned() })
    }
}
