//! A dead letter, read from its record.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    decode,
    headers::{self, HeaderFormat},
    identity::{payload_hash, source_hash},
    model::{HeaderBlock, OutgoingRecord, RecordBatch, RecordRef},
};

/// A dead letter.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Letter {
    /// The `dlq-id`. A letter of another framework, or with an invalid `dlq-id`, gets an id derived from its place in the topic.
    /// So every id is safe in a URL path, where `..` or `audit` would address something else.
    pub(crate) id: String,
    /// Whether the id is the letter's own `dlq-id`.
    #[serde(skip)]
    pub(super) has_own_id: bool,
    /// The header format; `None` for a record without dead-letter headers of a known format.
    #[serde(rename = "family")]
    pub(crate) format: Option<HeaderFormat>,
    /// The `dlq-reason`; for a letter of another framework, the framework's name.
    pub(crate) reason: String,
    pub(crate) error_code: String,
    pub(crate) error_message: String,
    pub(crate) event_name: String,
    pub(crate) event_id: String,
    pub(crate) processor: String,
    pub(crate) attempts: u32,
    /// Number of replays before this failure.
    pub(crate) replays: u32,
    /// The key as text.
    pub(crate) key: Option<String>,
    /// The place that the event came from.
    pub(crate) origin: Origin,
    /// The letter's place in the dead-letter topic.
    pub(crate) at: Origin,
    /// The time at which the letter was written.
    pub(crate) time: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) record: Original,
}

/// A place in a topic; unknown parts are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Origin {
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.topic.as_deref().unwrap_or("?"))?;
        match (self.partition, self.offset) {
            (Some(partition), Some(offset)) => write!(f, "/{partition}@{offset}"),
            (Some(partition), None) => write!(f, "/{partition}"),
            _ => Ok(()),
        }
    }
}

/// Key, payload and headers of the record, unchanged.
#[derive(Clone, Default)]
pub(crate) struct Original {
    pub(crate) key: Option<Bytes>,
    pub(crate) payload: Option<Bytes>,
    pub(crate) headers: HeaderBlock,
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Payloads may contain personal data.
        f.debug_struct("Original").field("headers", &self.headers).finish_non_exhaustive()
    }
}

impl Letter {
    pub(super) fn of(topic: &str, partition: i32, record: &RecordRef<'_>) -> Self {
        let text = |name: &str| String::from_utf8_lossy(record.header(name).unwrap_or_default()).into_owned();
        let number = |name: &str| text(name).parse().unwrap_or_default();
        let reported = headers::read(record);
        let format = reported.as_ref().map(|reported| reported.format);
        let (reason, event_name, event_id) = match format {
            Some(HeaderFormat::Dlq) => (text("dlq-reason"), text("dlq-event-name"), text("dlq-event-id")),
            other => {
                let (name, id) = event_of(record);
                (other.map(|format| format.as_str().to_owned()).unwrap_or_default(), name, id)
            }
        };
        let own_id = Some(text("dlq-id")).filter(|id| format == Some(HeaderFormat::Dlq) && is_id(id));
        let has_own_id = own_id.is_some();
        let id = own_id.unwrap_or_else(|| id_of_place(topic, partition, record));
        let (origin, error_code, error_message) = match reported {
            Some(reported) => (
                Origin { topic: reported.topic, partition: reported.partition, offset: reported.offset },
                reported.error_code,
                reported.error_message,
            ),
            None => (Origin { topic: None, partition: None, offset: None }, String::new(), String::new()),
        };
        Self {
            id,
            has_own_id,
            format,
            reason,
            error_code,
            error_message,
            event_name,
            event_id,
            processor: text("dlq-processor"),
            attempts: number("dlq-attempts"),
            replays: number("dlq-replays"),
            key: record.key.map(|key| String::from_utf8_lossy(key).into_owned()),
            origin,
            at: Origin { topic: Some(topic.to_owned()), partition: Some(partition), offset: Some(record.offset) },
            time: record.time(),
            record: Original {
                key: record.key.map(Bytes::copy_from_slice),
                payload: record.payload.map(Bytes::copy_from_slice),
                headers: HeaderBlock::from_bytes(record.encoded_headers().to_vec()),
            },
        }
    }

    /// The event id under which the key's deduplication window remembers the event; `None` if the id belongs to another event.
    pub(super) fn own_id(&self) -> Option<&str> {
        (!self.event_id.is_empty() && self.error_code != "event_id_reused").then_some(&*self.event_id)
    }

    /// The hash of the event's source, as in the deduplication window.
    pub(super) fn source(&self) -> u64 {
        let mut batch = RecordBatch::default();
        batch.push(0, None, None, self.record.payload.as_deref(), &self.record.headers);
        let Some(record) = batch.get(0) else { return 0 };
        decode::decode(&record).map_or(0, |envelope| source_hash(&envelope))
    }

    /// Identifies one writing of a letter by id and replays: the same event may fail again after a replay.
    pub(super) fn occurrence(&self) -> u128 {
        xxh3_128(format!("{}/{}", self.id, self.replays).as_bytes())
    }

    /// The size of the record in bytes.
    pub(super) fn size(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        self.record.headers.size() + length(&self.record.key) + length(&self.record.payload)
    }

    /// The record that a replay sends: the original event, to its topic and partition, with its key. `None` if the letter does
    /// not name the topic.
    pub(super) fn outgoing(&self, payload: Option<Bytes>) -> Option<OutgoingRecord> {
        let format = self.format?;
        let mut headers = self.record.headers.clone();
        headers.retain(|name| !headers::describes_failure(format, name));
        if format == HeaderFormat::Dlq {
            // The service recognizes the replay by this id.
            headers.push("dlq-id", Some(self.id.as_bytes()));
        }
        Some(OutgoingRecord {
            topic: self.origin.topic.as_deref()?.into(),
            // Not chosen by the key: another client's partitioner may have chosen it, and the order of the key is kept there.
            partition: self.origin.partition,
            key: self.record.key.clone(),
            payload,
            headers,
            timestamp: None,
        })
    }
}

/// The record in a batch of its own, the form that decoding needs.
pub(super) fn batch_of(record: &OutgoingRecord) -> RecordBatch {
    let mut batch = RecordBatch::default();
    batch.push(0, record.timestamp, record.key.as_deref(), record.payload.as_deref(), &record.headers);
    batch
}

/// Name and id of the event in a record; empty if it cannot be decoded.
fn event_of(record: &RecordRef<'_>) -> (String, String) {
    let Ok(envelope) = decode::decode(record) else { return Default::default() };
    (envelope.name.into_owned(), envelope.id.unwrap_or_default().into_owned())
}

/// Whether a text has the form of a `dlq-id`: 32 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A stable id of 32 hexadecimal digits from the letter's place. It includes time and payload, because a recreated topic has
/// other letters at the same places.
fn id_of_place(topic: &str, partition: i32, record: &RecordRef<'_>) -> String {
    let hash = payload_hash(record.payload);
    let place = format!("{topic}/{partition}/{}/{:?}/{hash:032x}", record.offset, record.timestamp);
    format!("{:032x}", xxh3_128(place.as_bytes()))
}
