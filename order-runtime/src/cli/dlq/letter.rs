//! A dead letter as its record says it, and which ones are meant.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::broker::RecordRef;

/// A dead letter.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Letter {
    /// `dlq-id`; empty for a record that this service did not write.
    pub(super) id: String,
    pub(super) reason: String,
    pub(super) error_code: String,
    pub(super) error_message: String,
    pub(super) event_name: String,
    pub(super) event_id: String,
    pub(super) processor: String,
    pub(super) attempts: String,
    pub(super) replays: String,
    /// Where the event came from: topic, partition, offset.
    pub(super) origin: Origin,
    /// Where the dead letter lies.
    pub(super) at: Origin,
    /// When the dead letter was written.
    pub(super) time: Option<Timestamp>,
    #[serde(skip)]
    pub(super) record: Original,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Origin {
    pub(super) topic: String,
    pub(super) partition: String,
    pub(super) offset: String,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

/// The record byte for byte.
#[derive(Debug, Clone)]
pub(super) struct Original {
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Letter {
    pub(super) fn of(topic: &str, partition: i32, record: &RecordRef<'_>) -> Self {
        let text = |name: &str| String::from_utf8_lossy(record.header(name).unwrap_or_default()).into_owned();
        Self {
            id: text("dlq-id"),
            reason: text("dlq-reason"),
            error_code: text("dlq-error-code"),
            error_message: text("dlq-error-message"),
            event_name: text("dlq-event-name"),
            event_id: text("dlq-event-id"),
            processor: text("dlq-processor"),
            attempts: text("dlq-attempts"),
            replays: text("dlq-replays"),
            origin: Origin { topic: text("dlq-topic"), partition: text("dlq-partition"), offset: text("dlq-offset") },
            at: Origin { topic: topic.to_owned(), partition: partition.to_string(), offset: record.offset.to_string() },
            time: record.time(),
            record: Original {
                key: record.key.map(<[u8]>::to_vec),
                payload: record.payload.map(<[u8]>::to_vec),
                headers: record.headers().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
            },
        }
    }
}

/// Which dead letters are meant; all conditions hold.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::cli) struct Filter {
    /// Only those of this event.
    #[arg(long)]
    event: Option<String>,
    /// Only those with this reason: undecodable, `unknown_event`, invalid, rejected, exhausted, timeout, panic, `too_large`.
    #[arg(long)]
    reason: Option<String>,
    /// Only those written since then: RFC 3339, or a time ago such as 2h.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only those written before then.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// The most there are to be.
    #[arg(long)]
    pub(super) max: Option<usize>,
}

impl Filter {
    /// Whether a letter is meant; the count aside.
    pub(super) fn takes(&self, letter: &Letter) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.event, &letter.event_name)
            && is(&self.reason, &letter.reason)
            && self.since.is_none_or(|since| letter.time.is_some_and(|time| time >= since))
            && self.until.is_none_or(|until| letter.time.is_some_and(|time| time < until))
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text).ok().and_then(|ago| SignedDuration::try_from(ago).ok());
    ago.and_then(|ago| Timestamp::now().checked_sub(ago).ok())
        .ok_or_else(|| "a time such as 2026-01-31T12:00:00Z, or a time ago such as 2h, is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::RecordBatch;

    fn letter(reason: &str, event: &str, at: i64) -> Letter {
        let mut batch = RecordBatch::default();
        let headers = [(&b"dlq-reason"[..], Some(reason.as_bytes())), (&b"dlq-event-name"[..], Some(event.as_bytes()))];
        batch.push(1, Some(at), None, None, headers);
        Letter::of("dlq", 0, &batch.get(0).expect("one record"))
    }

    #[test]
    fn all_conditions_hold() {
        let filter = Filter {
            reason: Some("rejected".to_owned()),
            event: Some("ThingHappened".to_owned()),
            since: Some(Timestamp::from_millisecond(10).expect("a time")),
            until: Some(Timestamp::from_millisecond(20).expect("a time")),
            max: None,
        };
        assert!(filter.takes(&letter("rejected", "ThingHappened", 10)));
        assert!(!filter.takes(&letter("invalid", "ThingHappened", 10)));
        assert!(!filter.takes(&letter("rejected", "Other", 10)));
        assert!(!filter.takes(&letter("rejected", "ThingHappened", 9)));
        assert!(!filter.takes(&letter("rejected", "ThingHappened", 20)));
        assert!(Filter::default().takes(&letter("", "", 0)));
    }

    #[test]
    fn times_are_dates_or_ago() {
        assert_eq!(time("1970-01-01T00:00:00Z"), Ok(Timestamp::UNIX_EPOCH));
        assert!(time("2h").expect("a time ago") < Timestamp::now());
        assert!(time("yesterday").is_err());
    }
}
