//! One letter whole.

use std::sync::Arc;

use serde::Serialize;

use super::{
    ClassifiedLetter, Cursor, DeadLetterError, DeadLetterService, Letter,
    json::Json,
    state::{Defect, State},
    trial::{Trial, trial},
};
use crate::identity::EventOutcome;

/// Earlier writings of a letter that are shown.
const EARLIER: usize = 100;

/// A letter with everything that is known of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) classified: ClassifiedLetter,
    /// Headers in their order, as text.
    pub(crate) headers: Vec<(String, Option<String>)>,
    /// The payload where it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<Json>,
    /// The payload as text: over several lines where it is JSON. Its numbers are as they were written, which few readers of JSON
    /// leave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_text: Option<String>,
    /// What this build would do with it.
    pub(crate) trial: Trial,
    /// What became of its event, as its key remembers.
    pub(crate) event_outcome: Option<EventOutcome>,
    /// Why it would not be replayed as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flaw: Option<Defect>,
    /// What it was before it was replayed and failed again.
    pub(crate) earlier: Vec<ClassifiedLetter>,
}

impl DeadLetterService {
    /// Finds the latest writing of a letter, and the ones before it without payloads. With a budget, the topic is read from its end, or
    /// from `before` on, as far as the budget goes.
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
        let mut classified = self.judge(found, true).await?;
        let id = id.to_owned();
        let latest = classified.pop().ok_or(if left {
            DeadLetterError::NotAmong { id, read, of }
        } else {
            DeadLetterError::Unknown(id)
        })?;
        Ok((latest, classified))
    }

    /// Shows a letter; as to `before`, see [`find`](Self::find).
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
            flaw: classified.flaw(self),
            earlier,
            classified,
        })
    }
}

/// Adds a writing of a letter to those known, in the order of its replays; only the last one keeps its payload.
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

/// Whether every writing of a letter is known, as its last one counts them.
fn is_whole(found: &[Letter]) -> bool {
    found.last().is_some_and(|last| found.len() as u64 > u64::from(last.replays) || found.len() >= EARLIER)
}

impl ClassifiedLetter {
    /// Refuses a letter that somebody has dealt with already.
    pub(super) fn still_there(&self) -> Result<(), DeadLetterError> {
        let why = match self.state {
            State::Open | State::Parked => return Ok(()),
            State::Replayed => "it was replayed already",
            State::Purged => "it is purged",
            State::Superseded => "its event has failed again since; deal with the later letter",
        };
        Err(DeadLetterError::Refused { id: self.letter.id.clone(), why: why.to_owned() })
    }
}
