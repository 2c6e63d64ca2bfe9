//! Dead letters: the key, payload and headers of a record that cannot be handled, byte for byte, and the reason in headers.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    engine::Settings,
    headers,
    model::{Arena, HeaderBlock, OutgoingRecord, PartitionId, Reason, RecordRef, cut},
};

/// The headers of every dead letter. `dlq-timestamp` is added if the record had a timestamp.
pub(crate) const HEADERS: [&str; 15] = [
    "dlq-id",
    "dlq-topic",
    "dlq-partition",
    "dlq-consumer-group",
    "dlq-service-version",
    "dlq-offset",
    "dlq-event-name",
    "dlq-event-id",
    "dlq-processor",
    "dlq-reason",
    "dlq-error-code",
    "dlq-error-message",
    "dlq-attempts",
    "dlq-first-failed-at",
    "dlq-replays",
];

/// The facts about a dead letter that its record does not contain.
#[derive(Debug)]
pub(crate) struct Verdict<'a> {
    pub(crate) id: &'a str,
    pub(crate) reason: Reason,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    pub(crate) event_name: &'a str,
    pub(crate) event_id: &'a str,
    pub(crate) processor: &'a str,
    pub(crate) attempts: u32,
    pub(crate) first_failed_at: Timestamp,
    pub(crate) replays: u32,
}

/// The maximum length of an error message in a header, in bytes.
const MESSAGE_LIMIT: usize = 1024;

/// The approximate size of the `dlq-` headers without the error message, in bytes.
const OWN_BYTES: usize = 768;

/// Builds the dead letters of a batch, which all belong to one partition.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    arena: Arena,
    /// The headers that all dead letters share.
    common: Option<HeaderBlock>,
    /// The last time and its text: most dead letters of a batch share one time of failure.
    time: Option<(Timestamp, String)>,
}

impl Writer {
    /// Builds the dead letter of `record`.
    pub(crate) fn record(
        &mut self,
        settings: &Settings,
        partition: &PartitionId,
        record: &RecordRef<'_>,
        verdict: &Verdict<'_>,
    ) -> OutgoingRecord {
        let (group, formats) = (&settings.group, &settings.dlq_headers);
        let message = cut(verdict.message, MESSAGE_LIMIT);
        let Self { arena, common, time } = self;
        let common = common.get_or_insert_with(|| common_headers(settings, partition));
        let first_failed_at = written(time, verdict.first_failed_at);
        arena.reserve(record.size() + OWN_BYTES + message.len());
        let key = record.key.map(|key| arena.copy(key));
        let payload = record.payload.map(|payload| arena.copy(payload));
        // Incoming `dlq-` headers are not trusted and are dropped: the verdict has the verified values.
        let theirs = |name: &[u8]| !is_own_header(name) && !formats.iter().any(|format| format.owns(name));
        let headers = arena.headers(|headers| {
            headers.extend(record.headers().filter(|(name, _)| theirs(name)));
            headers.push_text("dlq-id", verdict.id);
            headers.append(common);
            headers.push_number("dlq-offset", record.offset);
            if let Some(timestamp) = record.timestamp {
                headers.push_number("dlq-timestamp", timestamp);
            }
            headers.push_text("dlq-event-name", verdict.event_name);
            headers.push_text("dlq-event-id", verdict.event_id);
            headers.push_text("dlq-processor", verdict.processor);
            headers.push_text("dlq-reason", verdict.reason.as_str());
            headers.push_text("dlq-error-code", verdict.code);
            headers.push_text("dlq-error-message", message);
            headers.push_number("dlq-attempts", verdict.attempts);
            headers.push_text("dlq-first-failed-at", first_failed_at);
            headers.push_number("dlq-replays", verdict.replays);
            let failed = headers::FailedRecord {
                partition,
                offset: record.offset,
                timestamp: record.timestamp,
                group,
                code: verdict.code,
                message,
                processor: verdict.processor,
            };
            for format in formats {
                headers::add(*format, &failed, headers);
            }
        });
        let topic = Arc::clone(&settings.dlq_topic);
        OutgoingRecord { topic, partition: None, key, payload, headers, timestamp: None }
    }
}

fn common_headers(settings: &Settings, partition: &PartitionId) -> HeaderBlock {
    let mut headers = HeaderBlock::default();
    headers.push_text("dlq-topic", &partition.topic);
    headers.push_number("dlq-partition", partition.partition);
    headers.push_text("dlq-consumer-group", &settings.group);
    headers.push_text("dlq-service-version", settings.service_version);
    headers
}

/// Formats a time; the text of the last time is reused if the time is the same.
fn written(last: &mut Option<(Timestamp, String)>, time: Timestamp) -> &str {
    let known = last.take().filter(|(known, _)| *known == time);
    &last.insert(known.unwrap_or_else(|| (time, time.to_string()))).1
}

/// Whether a header belongs to the `dlq-` headers.
pub(crate) fn is_own_header(name: &[u8]) -> bool {
    name.starts_with(b"dlq-")
}

/// Whether an outbox record is a dead letter; all others are emitted events.
pub(crate) fn is_one(record: &OutgoingRecord) -> bool {
    record.headers.get("dlq-id").is_some()
}

/// A copy of a dead letter without its optional headers, for one that is too large for the dead-letter topic. It keeps the
/// key, the payload, and the headers that identify the original record.
pub(crate) fn shrink(record: &OutgoingRecord) -> OutgoingRecord {
    let essential: [&[u8]; 7] =
        [b"dlq-id", b"dlq-topic", b"dlq-partition", b"dlq-offset", b"dlq-event-id", b"dlq-reason", b"dlq-error-code"];
    let mut shrunk = record.clone();
    shrunk.headers.retain(|name| essential.contains(&name));
    shrunk
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::engine::batch::dead_letter::*;
    use crate::{engine::tests::rig, headers::HeaderFormat, model::RecordBatch};

    #[test]
    fn the_number_of_a_reason_is_its_index_in_the_list() {
        let places: Vec<usize> = Reason::ALL.iter().map(|reason| *reason as usize).collect();
        assert_eq!(places, (0..Reason::ALL.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_dead_letter_keeps_the_record_and_says_why() {
        let partition = PartitionId {
            cluster: Arc::from("cluster"),
            topic_id: Uuid::nil(),
            topic: Arc::from("things"),
            partition: 3,
        };
        let mut batch = RecordBatch::default();
        let headers = [(&b"trace"[..], Some(&b"\x00\xff"[..])), (b"dlq-replays", Some(b"99")), (b"trace", None)];
        batch.push(42, Some(1_700_000_000_000), Some(b"k"), Some(b"\xffpayload"), headers);
        let long = "é".repeat(MESSAGE_LIMIT);
        let verdict = Verdict {
            id: "id-1",
            reason: Reason::Rejected,
            code: "not_allowed",
            message: &long,
            event_name: "ThingHappened",
            event_id: "e-1",
            processor: "EventProcessor_ThingHappened",
            attempts: 2,
            first_failed_at: Timestamp::UNIX_EPOCH,
            replays: 1,
        };
        let mut settings = rig::settings();
        let letter = Writer::default().record(&settings, &partition, &batch.get(0).expect("one record"), &verdict);

        assert_eq!((letter.key.as_deref(), letter.payload.as_deref()), (Some(&b"k"[..]), Some(&b"\xffpayload"[..])));
        let first: Vec<_> =
            letter.headers.iter().take(3).map(|(name, value)| (name, value.unwrap_or(b"null"))).collect();
        assert_eq!(
            first[..2],
            [(&b"trace"[..], &b"\x00\xff"[..]), (b"trace", b"null")],
            "a forged `dlq-` header is dropped; the other headers keep their order"
        );
        assert_eq!(first[2].0, b"dlq-id");
        let value = |name: &str| {
            let found: Vec<_> = letter.headers.iter().filter(|(known, _)| *known == name.as_bytes()).collect();
            assert_eq!(found.len(), 1, "{name}");
            std::str::from_utf8(found[0].1.expect("a value")).expect("text")
        };
        assert_eq!(value("dlq-reason"), "rejected");
        assert_eq!(value("dlq-offset"), "42");
        assert_eq!(value("dlq-replays"), "1");
        assert_eq!(value("dlq-error-message").len(), MESSAGE_LIMIT);
        assert_eq!(value("dlq-first-failed-at"), "1970-01-01T00:00:00Z");
        let ours = letter.headers.iter().filter_map(|(name, _)| std::str::from_utf8(name).ok());
        let ours: Vec<&str> = ours.filter(|name| name.starts_with("dlq-") && *name != "dlq-timestamp").collect();
        assert_eq!(ours, HEADERS);
        assert_eq!(letter.headers.len(), 18);
        assert_eq!(shrink(&letter).headers.len(), 7);
        assert_eq!(shrink(&letter).payload, letter.payload);

        settings.dlq_headers = vec![HeaderFormat::Spring, HeaderFormat::Connect];
        let more = Writer::default().record(&settings, &partition, &batch.get(0).expect("one record"), &verdict);
        assert!(more.headers.as_bytes().starts_with(letter.headers.as_bytes()), "other formats are appended");
        assert_eq!(more.headers.get("kafka_dlt-original-offset"), Some(&42_i64.to_be_bytes()[..]));
        assert_eq!(shrink(&more).headers.len(), 7);
    }
}
