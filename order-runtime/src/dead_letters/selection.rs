//! Selecting letters by id or by conditions.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::Letter;

/// Conditions on dead letters; a letter matches if all of them hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Filter {
    /// Only letters of this event.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    /// Only letters with this reason: undecodable, `unknown_event`, invalid, rejected, exhausted, timeout, panic, `too_large`; or,
    /// for letters of other frameworks: spring, connect, streams, smallrye, wolverine.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Only letters with this error code.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Only letters with this key.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// Only letters written at this time or later: RFC 3339, or a time ago such as 2h.
    #[arg(long, value_name = "TIME", value_parser = time)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given_time")]
    #[schemars(with = "Option<String>")]
    pub(crate) since: Option<Timestamp>,
    /// Only letters written before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given_time")]
    #[schemars(with = "Option<String>")]
    pub(crate) until: Option<Timestamp>,
    /// Only parked letters, which are left out otherwise.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) parked: bool,
}

impl Filter {
    /// Whether a letter matches, regardless of its state.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.event, &letter.event_name)
            && is(&self.reason, &letter.reason)
            && is(&self.code, &letter.error_code)
            && self.key.as_deref().is_none_or(|wanted| letter.key.as_deref() == Some(wanted))
            && self.since.is_none_or(|since| letter.time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| letter.time.is_some_and(|time| time < until))
    }
}

/// Selects letters by id and by conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LetterSelection {
    /// Only letters with these ids.
    #[arg(value_name = "ID")]
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "given_ids")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) filter: Filter,
    /// Every open letter, or with --parked every parked one.
    #[arg(long)]
    #[serde(skip_serializing, deserialize_with = "given_all")]
    pub(crate) all: bool,
}

impl LetterSelection {
    /// Whether a letter matches, regardless of its state.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        (self.ids.is_empty() || self.ids.contains(&letter.id)) && self.filter.takes(letter)
    }

    /// Whether it has an id or a condition, or explicitly requests all letters: an empty selection must not select every letter.
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::default()
    }
}

/// A selection during a pass, which records the ids that were found.
pub(super) struct Search {
    selection: LetterSelection,
    /// Given ids that were not found yet.
    unmet: Mutex<BTreeSet<String>>,
}

impl Search {
    pub(super) fn of(selection: LetterSelection) -> Self {
        let unmet = Mutex::new(selection.ids.iter().cloned().collect());
        Self { selection, unmet }
    }

    /// Whether a letter matches, regardless of its state.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        if !self.selection.ids.is_empty() {
            self.unmet.lock().remove(&letter.id);
        }
        self.selection.takes(letter)
    }

    /// The given ids that match no letter; complete only after the whole topic was read.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.unmet.lock().iter().cloned().collect()
    }
}

/// Parses a time in RFC 3339, or a time ago such as `2h`.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text).ok().and_then(|ago| SignedDuration::try_from(ago).ok());
    ago.and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .ok_or_else(|| "expected a time such as 2026-01-31T12:00:00Z, or a time ago such as 2h".to_owned())
}

/// An empty list from a program means no letter, and must not select every letter.
fn given_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let ids = Option::<Vec<String>>::deserialize(deserializer)
        .map_err(|_| D::Error::custom("`ids` must be an array of strings"))?;
    if ids.as_ref().is_some_and(Vec::is_empty) {
        return Err(D::Error::custom("`ids` is empty; name letters, or leave it out"));
    }
    Ok(ids.unwrap_or_default())
}

fn given_all<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let all = Option::deserialize(deserializer).map_err(|_| D::Error::custom("`all` must be true or false"))?;
    Ok(all.unwrap_or_default())
}

fn given_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| time(&text)).transpose().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::RecordBatch;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn letter(reason: &str, event: &str, at: i64) -> Letter {
        let mut batch = RecordBatch::default();
        let headers = [
            (&b"dlq-id"[..], Some(ID.as_bytes())),
            (b"dlq-reason", Some(reason.as_bytes())),
            (b"dlq-event-name", Some(event.as_bytes())),
            (b"dlq-error-code", Some(b"code")),
        ];
        batch.push(1, Some(at), Some(b"key"), None, headers);
        Letter::of("dlq", 0, &batch.get(0).expect("one record"))
    }

    #[test]
    fn all_conditions_hold() {
        let filter = Filter {
            reason: Some("rejected".to_owned()),
            event: Some("ThingHappened".to_owned()),
            since: Some(Timestamp::from_millisecond(10).expect("a time")),
            until: Some(Timestamp::from_millisecond(20).expect("a time")),
            ..Filter::default()
        };
        assert!(filter.takes(&letter("rejected", "ThingHappened", 10)));
        assert!(!filter.takes(&letter("invalid", "ThingHappened", 10)));
        assert!(!filter.takes(&letter("rejected", "Other", 10)));
        assert!(!filter.takes(&letter("rejected", "ThingHappened", 9)));
        assert!(!filter.takes(&letter("rejected", "ThingHappened", 20)));
        assert!(Filter::default().takes(&letter("", "", 0)));
        for (code, key, takes) in [("code", "key", true), ("code", "other", false), ("other", "key", false)] {
            let filter = Filter { code: Some(code.to_owned()), key: Some(key.to_owned()), ..Filter::default() };
            assert_eq!(filter.takes(&letter("", "", 0)), takes, "{code} {key}");
        }
    }

    #[test]
    fn letters_are_selected_by_id_too() {
        let selection: LetterSelection =
            serde_json::from_value(json!({"ids": [ID], "reason": "rejected"})).expect("a selection");
        assert!(selection.is_given() && selection.takes(&letter("rejected", "", 0)));
        assert!(!selection.takes(&letter("invalid", "", 0)));
        assert!(
            !LetterSelection { ids: vec!["other".to_owned()], ..LetterSelection::default() }.takes(&letter("", "", 0))
        );
        assert!(!LetterSelection::default().is_given());
    }

    #[test]
    fn an_empty_list_of_ids_is_refused() {
        let read = |text: &str| serde_json::from_str::<LetterSelection>(text);
        for text in [r#"{"ids": []}"#, r#"{"ids": [], "reason": "rejected"}"#, r#"{"ids": [], "all": true}"#] {
            let error = read(text).expect_err("it names nothing").to_string();
            assert!(error.contains("`ids` is empty"), "{text}: {error}");
        }
        for text in ["{}", r#"{"ids": null}"#, r#"{"reason": null}"#, r#"{"all": null}"#] {
            assert!(!read(text).expect("a selection").is_given(), "{text}");
        }
        assert!(read(r#"{"all": true}"#).expect("a selection").is_given());
    }

    #[test]
    fn ids_that_no_letter_has_are_reported() {
        let ids = [ID, "nobody", "nothing"].map(str::to_owned).to_vec();
        let filter = Filter { reason: Some("rejected".to_owned()), ..Filter::default() };
        let search = Search::of(LetterSelection { ids, filter, all: false });
        assert!(!search.takes(&letter("invalid", "", 0)), "it is there, and does not match");
        assert_eq!(search.unknown(), ["nobody", "nothing"]);
        assert!(Search::of(LetterSelection::default()).unknown().is_empty());
    }

    #[test]
    fn times_are_dates_or_ago() {
        assert_eq!(time("1970-01-01T00:00:00Z"), Ok(Timestamp::UNIX_EPOCH));
        assert!(time("2h").expect("a time ago") < Timestamp::now());
        assert!(time("yesterday").is_err());
        let filter: Filter = serde_json::from_str(r#"{"since": "2h"}"#).expect("JSON");
        assert!(filter.since.is_some_and(|since| since < Timestamp::now()));
        assert!(serde_json::from_str::<Filter>(r#"{"since": "yesterday"}"#).is_err());
    }
}
