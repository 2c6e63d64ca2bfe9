//! Correcting a letter: the new payload is sent again as the same event.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use similar::TextDiff;

use super::{
    ClassifiedLetter, Cursor, DeadLetterError, DeadLetterService,
    destination::{Destinations, Route},
    json::Json,
    letter::batch_of,
    replay::LeftOut,
    start_audit,
    trial::{Trial, reported, trial},
};
use crate::{
    broker::{PublishError, Publisher},
    dispatch::Violation,
    identity::payload_hash,
    model::OutgoingRecord,
    store::{AuditRow, MarkState},
};

/// Why a correction was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    /// An error that every operation can return.
    #[error(transparent)]
    DeadLetterService(#[from] DeadLetterError),
    /// The corrected event is still invalid.
    #[error("the correction is not sent: {}", reported(.0))]
    Invalid(Vec<Violation>),
}

/// The result of a correction, sent or only checked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Edited {
    pub(crate) dry_run: bool,
    pub(crate) id: String,
    pub(crate) event_id: String,
    /// The unified diff of the two documents.
    pub(crate) diff: String,
    /// How this build would handle the event.
    pub(crate) trial: Trial,
}

impl DeadLetterService {
    /// The payload of a letter for an editor; JSON is formatted over several lines.
    pub(crate) async fn document(&self, id: &str) -> Result<String, DeadLetterError> {
        let (classified, _) = self.find(id, None).await?;
        Ok(pretty(classified.letter.record.payload.as_deref().unwrap_or_default()))
    }

    /// Checks a new payload for a letter as before its processor, and sends it as a replay. The event keeps its id, which is
    /// added if the new payload has none, so only one of a letter and its corrections counts. For `before`, see
    /// [`find`](Self::find).
    pub(crate) async fn edit(
        &self,
        publisher: &dyn Publisher,
        by: &str,
        id: &str,
        before: Option<Cursor>,
        payload: &str,
        dry_run: bool,
    ) -> Result<Edited, EditError> {
        let (classified, _) = self.find(id, before).await?;
        classified.still_there()?;
        let refused = |why: &str| DeadLetterError::Refused { id: id.to_owned(), why: why.to_owned() };
        if let Some(defect) = classified.defect(self) {
            return Err(refused(defect.text()).into());
        }
        let before = classified.letter.record.payload.clone().unwrap_or_default();
        let event_id = classified.event_id();
        let (mut record, trial) = self.corrected(&classified, payload, &event_id)?;
        let after = record.payload.clone().unwrap_or_default();
        // An added id is not a change of the operator's.
        if same_document(&before, payload.trim().as_bytes()) || same_document(&before, &after) {
            return Err(refused("nothing has changed; `dlq replay` sends the event unchanged").into());
        }
        let edited = Edited { dry_run, id: id.to_owned(), event_id, diff: diff(&before, &after), trial };
        if dry_run {
            return Ok(edited);
        }
        let mut destinations = Destinations::new(None).await?;
        destinations.look_up(&*self.source, std::slice::from_ref(&classified.letter), &self.topics).await?;
        if destinations.direct(&classified.letter, &mut record) == Route::NoTopic {
            return Err(refused(LeftOut::NoTopic.text()).into());
        }
        let hash = |payload: &[u8]| format!("{:032x}", payload_hash(Some(payload)));
        let entry = start_audit(by, "edit", &json!({"ids": [id], "before": hash(&before), "after": hash(&after)}));
        let store = self.store().map_err(DeadLetterError::from)?;
        store.mark(entry.clone(), Vec::new()).await.map_err(DeadLetterError::from)?;
        let results = publisher.publish([Arc::new(record)].into()).await;
        let no_answer = || Err(PublishError::Transient { topic: String::new(), reason: "no answer".to_owned() });
        results.into_iter().next().unwrap_or_else(no_answer).map_err(DeadLetterError::Publish)?;
        let mark = classified.marked(MarkState::Replayed, by, "edited");
        store.mark(AuditRow { letters: 1, ..entry }, vec![mark]).await.map_err(DeadLetterError::from)?;
        Ok(edited)
    }

    /// The record of a correction, and how this build would handle it.
    fn corrected(
        &self,
        classified: &ClassifiedLetter,
        payload: &str,
        event_id: &str,
    ) -> Result<(OutgoingRecord, Trial), EditError> {
        let invalid =
            |path: &str, message: String| EditError::Invalid(vec![Violation { path: path.to_owned(), message }]);
        let mut record = classified
            .letter
            .outgoing(Some(payload.trim().as_bytes().to_vec().into()))
            .ok_or_else(|| invalid("$", "the letter does not say where it came from".to_owned()))?;
        let mut result = self.trial_of(&record);
        if result.0.is_none() && matches!(result.1, Trial::Handled { .. }) {
            record.payload = Some(with_id(payload.trim(), event_id).into());
            result = self.trial_of(&record);
        }
        match result {
            (_, Trial::Invalid { errors }) => Err(EditError::Invalid(errors)),
            (Some(id), _) if id != event_id => {
                let message = format!("a correction keeps the id of its event: leave it out, or give `{event_id}`");
                Err(invalid("$.eventId", message))
            }
            (_, handled) => Ok((record, handled)),
        }
    }

    fn trial_of(&self, record: &OutgoingRecord) -> (Option<String>, Trial) {
        let batch = batch_of(record);
        batch.get(0).map_or((None, Trial::Invalid { errors: Vec::new() }), |record| trial(&self.registry, &record))
    }
}

impl ClassifiedLetter {
    /// The event id of corrections: that of the letter's event. Another framework's event without an id gets the letter's id.
    fn event_id(&self) -> String {
        let known = self.known.as_ref().map(|row| row.event_id.clone());
        known.or_else(|| self.letter.own_id().map(ToOwned::to_owned)).unwrap_or_else(|| self.letter.id.clone())
    }
}

/// Inserts the id before the first member of a JSON object, and leaves the rest of the text unchanged.
fn with_id(object: &str, id: &str) -> String {
    let rest = object.strip_prefix('{').unwrap_or(object);
    format!("{{\"eventId\": {}, {}", Value::from(id), rest.trim_start())
}

fn same_document(before: &[u8], after: &[u8]) -> bool {
    before == after || sorted(before).is_some_and(|before| sorted(after) == Some(before))
}

/// JSON with sorted members, because the order of members has no meaning.
fn sorted(payload: &[u8]) -> Option<Json> {
    let mut json = Json::read(payload)?;
    json.sort();
    Some(json)
}

/// JSON with a line for each member, so that a diff names members; other bytes as text.
fn pretty(payload: &[u8]) -> String {
    sorted(payload).map_or_else(|| String::from_utf8_lossy(payload).into_owned(), |json| json.pretty())
}

fn diff(before: &[u8], after: &[u8]) -> String {
    let (before, after) = (pretty(before) + "\n", pretty(after) + "\n");
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(3)
        .header("as it was", "as it is sent")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_added_and_nothing_else_changes() {
        let with = with_id("{ \"b\": 1,\n  \"a\": 2.50}", "c/\"1\"");
        assert_eq!(with, "{\"eventId\": \"c/\\\"1\\\"\", \"b\": 1,\n  \"a\": 2.50}");
    }

    #[test]
    fn a_diff_names_members() {
        let diff = diff(br#"{"b":1,"a":2}"#, br#"{"a":3,"b":1}"#);
        assert!(diff.contains("-  \"a\": 2,") && diff.contains("+  \"a\": 3,") && !diff.contains("-  \"b\""), "{diff}");
        assert!(same_document(br#"{"b":1,"a":2}"#, br#"{"a": 2, "b": 1}"#));
        assert!(!same_document(b"{", b"{}"));
        assert!(
            !same_document(b"[100000000000000000001]", b"[100000000000000000002]"),
            "no float holds the difference"
        );
    }
}
