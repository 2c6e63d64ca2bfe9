//! Decodes the envelope of an event: its id, its name, and the range of its data in the payload.
//!
//! Three forms are accepted:
//!
//! - the service's own JSON object, `{"eventId","eventName","version","occurredAt","data"}`; also accepted are `event_id` and `id`,
//!   `event_name`, `name` and `type`, `occurred_at` and `time`;
//! - CloudEvents 1.0 structured mode, a JSON object with `specversion`: its `id`, `source`, `type`, `time` and `data`
//!   (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>);
//! - CloudEvents 1.0 binary mode, with `ce_`-headers: the whole payload is the data
//!   (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>). If such headers are
//!   present, they decide, whatever the payload contains.
//!
//! Unknown members of the envelope are ignored. The whole payload must be JSON, nested at most [`MAX_DEPTH`] deep, without a
//! repeated member in the envelope and without the character U+0000, which databases refuse.

mod binary;
mod head;
mod json;
mod scan;
#[cfg(test)]
mod tests;
pub(crate) mod whole;

use std::ops::Range;

use jiff::Timestamp;

pub(crate) use crate::decode::{binary::is_json, head::length_of_value};
use crate::model::RecordRef;

/// The deepest nesting of arrays and objects in a payload.
pub const MAX_DEPTH: usize = 128;
/// The longest event id, in characters, and event name, in bytes.
pub const MAX_NAME: usize = 256;

/// A decoded envelope. Texts and data are ranges of the record's payload wherever possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The producer's id of the event; `None` if it gave none.
    pub id: Option<Text>,
    /// The `source` of a `CloudEvent`, which identifies it together with its id.
    pub source: Option<Text>,
    /// The event's name.
    pub name: Text,
    /// The event's version; 1 if the envelope has none.
    pub version: u32,
    /// When the event happened, according to its producer.
    pub occurred_at: Option<Timestamp>,
    /// The range of the data, JSON text, in the payload; empty if the event has none.
    pub data: Range<usize>,
}

impl Envelope {
    /// The JSON text of the event's data, `null` if it has none; `payload` is the one that the envelope was decoded from.
    pub fn data<'a>(&self, payload: &'a [u8]) -> &'a str {
        let data = payload.get(self.data.clone()).and_then(|data| simdutf8::basic::from_utf8(data).ok());
        data.filter(|data| !data.is_empty()).unwrap_or("null")
    }
}

/// A text of the envelope: a range of the payload, or owned if it was escaped or came in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// The range in the payload.
    Place(Range<usize>),
    /// The owned text.
    Owned(Box<str>),
}

impl Text {
    /// The text; `payload` is the one that the envelope was decoded from.
    pub fn of<'a>(&'a self, payload: &'a [u8]) -> &'a str {
        match self {
            Self::Place(range) => {
                payload.get(range.clone()).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
            }
            Self::Owned(text) => text,
        }
    }
}

/// Why a record is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Undecodable {
    /// A short, stable name of the error; the value of `dlq-error-code`.
    pub code: &'static str,
    /// The error, its place, and the expected form; never a value of the payload.
    pub message: String,
}

impl Undecodable {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Decodes the envelope of a record. The data itself is only delimited; its schema decodes it.
///
/// # Errors
/// [`Undecodable`] with a code. No payload causes a panic.
pub fn decode(record: &RecordRef<'_>) -> Result<Envelope, Undecodable> {
    let Some(payload) = record.payload else {
        return Err(Undecodable::new("tombstone", "the record has no payload; an event is a JSON object"));
    };
    let text = scan::check(payload)?;
    if binary::is_binary(record) { binary::decode(record, text) } else { json::decode(text) }
}

/// Decodes the envelope of a record up to its data, if it has the usual form. The data is then taken to be the whole rest;
/// [`is_all`] checks that. Returns `None` for any other record, which is for [`decode`].
pub(crate) fn decode_head(record: &RecordRef<'_>) -> Option<Envelope> {
    // The payload of a CloudEvent in binary mode is the data.
    if binary::is_binary(record) {
        return None;
    }
    head::read(scan::check(record.payload?).ok()?)
}

/// Decodes a record whose beginning [`decode_head`] has decoded. The beginning is read again only if members follow the data.
///
/// # Errors
/// Those of [`decode`].
pub(crate) fn decode_rest(head: Envelope, record: &RecordRef<'_>) -> Result<Envelope, Undecodable> {
    let payload = record.payload.unwrap_or_default();
    match head::length_of_data(head.data(payload)) {
        Ok(Some(length)) => Ok(Envelope { data: head.data.start..head.data.start + length, ..head }),
        Ok(None) => decode(record),
        Err(error) => Err(json::not_json_behind(&payload[..head.data.start], &error)),
    }
}

/// Whether only the end of the envelope follows its data.
pub(crate) fn is_all(rest: &str) -> bool {
    head::ends(rest)
}

fn has_control(text: &str) -> bool {
    // Nearly all names and ids are printable ASCII, which needs no decoding of characters.
    let is_plain = text.bytes().map(|byte| u8::from(!(b' '..=b'~').contains(&byte))).max() != Some(1);
    !is_plain && text.chars().any(char::is_control)
}

/// Checks the name of an event.
pub(crate) fn check_name(name: &str) -> Result<(), Undecodable> {
    if name.is_empty() {
        return Err(Undecodable::new("no_name", "the event's name is empty"));
    }
    if name.len() > MAX_NAME || has_control(name) {
        let message = format!("the event's name is longer than {MAX_NAME} bytes or has control characters");
        return Err(Undecodable::new("bad_name", message));
    }
    Ok(())
}

/// Checks the id of an event.
fn check_id(id: &str) -> Result<(), Undecodable> {
    // Counted in characters, as in the published schema; a character has at most four bytes.
    let is_long = id.len() > MAX_NAME && id.chars().count() > MAX_NAME;
    if id.is_empty() || is_long || has_control(id) {
        let message = format!("the event's id is empty, longer than {MAX_NAME} characters, or has control characters");
        return Err(Undecodable::new("bad_id", message));
    }
    Ok(())
}

/// Parses the time of an event.
fn parse_time(time: &str) -> Result<Timestamp, Undecodable> {
    time.parse()
        .or_else(|error| cut_fraction(time).ok_or(error)?.parse())
        .map_err(|_| Undecodable::new("bad_time", "the event's time is not RFC 3339, such as 2026-01-31T12:00:00Z"))
}

/// The time with its fraction of a second cut to nine digits; `None` if it has no more. RFC 3339 allows any number of digits,
/// but a timestamp keeps nanoseconds.
fn cut_fraction(time: &str) -> Option<String> {
    const NANOSECONDS: usize = 9;
    let (seconds, fraction) = time.split_once('.')?;
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    (digits > NANOSECONDS).then(|| format!("{seconds}.{}{}", &fraction[..NANOSECONDS], &fraction[digits..]))
}

/// Checks that the event follows CloudEvents 1.
fn check_specversion(version: &str) -> Result<(), Undecodable> {
    if version == "1.0" || version.starts_with("1.") {
        return Ok(());
    }
    Err(Undecodable::new("bad_specversion", "the specversion is not 1.0; send CloudEvents 1.0"))
}
