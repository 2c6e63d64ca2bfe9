//! One letter whole.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{
    Desk, DeskError, Judged, Letter,
    state::{Flaw, State},
    trial::{Trial, trial},
};
use crate::engine::identity::Fate;

/// Earlier writings of a letter that are shown.
const EARLIER: usize = 100;

/// A letter with everything that is known of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) judged: Judged,
    /// Headers in their order, as text.
    pub(crate) headers: Vec<(String, Option<String>)>,
    /// The payload where it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<Value>,
    /// The payload as text where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_text: Option<String>,
    /// What this build would do with it.
    pub(crate) trial: Trial,
    /// What became of its event, as its key remembers.
    pub(crate) event_fate: Option<Fate>,
    /// Why it would not be replayed as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flaw: Option<Flaw>,
    /// What it was before it was replayed and failed again.
    pub(crate) earlier: Vec<Judged>,
}

impl Desk {
    /// Finds the latest writing of a letter, and the ones before it without payloads.
    pub(super) async fn find(&self, id: &str) -> Result<(Judged, Vec<Judged>), DeskError> {
        let wanted = id.to_owned();
        let mut windows = self.source.read(Arc::new(move |letter: &Letter| letter.id == wanted));
        let mut found: Vec<Letter> = Vec::new();
        while let Some(window) = windows.recv().await {
            for letter in window?.letters {
                if found.iter().any(|known| known.replays == letter.replays) {
                    continue;
                }
                for known in &mut found {
                    if known.replays < letter.replays {
                        known.record = super::letter::Original::default();
                    }
                }
                found.push(letter);
                found.sort_by_key(|letter| letter.replays);
                if found.len() > EARLIER {
                    found.remove(0);
                }
            }
        }
        let mut judged = self.judge(found, true).await?;
        let latest = judged.pop().ok_or_else(|| DeskError::Unknown(id.to_owned()))?;
        Ok((latest, judged))
    }

    /// Shows a letter.
    pub(crate) async fn show(&self, id: &str) -> Result<Shown, DeskError> {
        let (judged, earlier) = self.find(id).await?;
        let original = &judged.letter.record;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = original.headers.iter().map(|(name, value)| (text(name), value.map(text))).collect();
        let payload = original.payload.as_deref();
        let json = payload.and_then(|payload| serde_json::from_slice(payload).ok());
        let batch = super::letter::batch_of(&crate::broker::OutgoingRecord {
            topic: String::new(),
            partition: None,
            key: original.key.clone(),
            payload: original.payload.clone(),
            headers: original.headers.clone(),
            timestamp: None,
        });
        let trial = batch.get(0).map(|record| trial(&self.registry, &record).1);
        Ok(Shown {
            headers,
            payload_text: if json.is_none() { payload.map(text) } else { None },
            payload: json,
            trial: trial.unwrap_or(Trial::Invalid { errors: Vec::new() }),
            event_fate: judged.fate,
            flaw: judged.flaw(self),
            earlier,
            judged,
        })
    }
}

impl Judged {
    /// Refuses a letter that somebody has dealt with already.
    pub(super) fn still_there(&self) -> Result<(), DeskError> {
        let why = match self.state {
            State::Open | State::Parked => return Ok(()),
            State::Replayed => "it was replayed already",
            State::Purged => "it is purged",
            State::Superseded => "its event has failed again since; deal with the later letter",
        };
        Err(DeskError::Refused { id: self.letter.id.clone(), why: why.to_owned() })
    }
}
