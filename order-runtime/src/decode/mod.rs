//! Decodes the envelope of an event: from a record's bytes to the event's name, id and data.
//!
//! Each format is a `Decoder` in a file of its own, and a line in `DECODERS`:
//!
//! - `json`: the service's own JSON object, `{"eventId","eventName","version","occurredAt","data"}`; also accepted are `event_id`
//!   and `id`, `event_name`, `name` and `type`, `occurred_at` and `time`;
//! - `cloudevents`: CloudEvents 1.0 in binary mode, with `ce_`-headers: the whole payload is the data
//!   (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>). If such headers are
//!   present, they decide, whatever the payload contains. In structured mode a `CloudEvent` is a JSON object with `specversion`,
//!   so `json` reads it, and `cloudevents` checks what only a `CloudEvent` has
//!   (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).
//!
//! Unknown members of the envelope are ignored. The whole payload must be JSON, nested at most [`MAX_DEPTH`] deep, without a
//! repeated member in the envelope and without the character U+0000, which databases refuse.

mod checks;
mod cloudevents;
mod json;
#[cfg(test)]
mod tests;
pub(crate) mod whole;

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use yoke::{Yoke, Yokeable};

pub(crate) use crate::decode::{checks::check_name, cloudevents::is_json};
use crate::model::{RecordBatch, RecordRef};

/// The deepest nesting of arrays and objects in a payload.
pub const MAX_DEPTH: usize = 128;
/// The longest event id, in characters, and event name, in bytes.
pub const MAX_NAME: usize = 256;

/// A decoded envelope. It borrows from its record wherever possible.
#[derive(Yokeable)]
// Data may be personal, so only tests may print it.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub struct Envelope<'r> {
    /// The producer's id of the event; `None` if it gave none.
    pub id: Option<Cow<'r, str>>,
    /// The `source` of a `CloudEvent`, which identifies it together with its id.
    pub source: Option<Cow<'r, str>>,
    /// The event's name.
    pub name: Cow<'r, str>,
    /// The event's version; 1 if the envelope has none.
    pub version: u32,
    /// When the event happened, according to its producer.
    pub occurred_at: Option<Timestamp>,
    /// The event's data, one JSON value; `null` if the envelope has none.
    pub data: Cow<'r, str>,
}

/// Why a record is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// A short, stable name of the error; the value of `dlq-error-code`.
    pub code: &'static str,
    /// The error, its place, and the expected form; never a value of the payload.
    pub message: String,
}

impl DecodeError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// One format of events.
trait Decoder: Sync {
    /// Whether the record has this format, by what distinguishes it from all others.
    fn recognizes(&self, record: &RecordRef<'_>) -> bool;

    /// Decodes the envelope of a record. The data is checked to be JSON; its schema decodes it.
    ///
    /// # Errors
    /// [`DecodeError`] with a code. No record causes a panic.
    fn decode<'r>(&self, record: &RecordRef<'r>) -> Result<Envelope<'r>, DecodeError>;
}

/// All formats. The first that recognizes a record decodes it; JSON, the last, recognizes every record.
static DECODERS: [&dyn Decoder; 2] = [&cloudevents::Binary, &json::Json];

/// Decodes the envelope of a record, in any format.
///
/// # Errors
/// [`DecodeError`] with a code. No record causes a panic.
pub fn decode<'r>(record: &RecordRef<'r>) -> Result<Envelope<'r>, DecodeError> {
    let decoder = DECODERS.iter().copied().find(|decoder| decoder.recognizes(record)).unwrap_or(&json::Json);
    decoder.decode(record)
}

/// A record of a batch and its envelope. It keeps the batch, from which both borrow: a `Yoke` is a value together with the memory
/// that it borrows from.
pub(crate) struct DecodedRecord {
    envelope: Yoke<Envelope<'static>, Arc<RecordBatch>>,
    index: usize,
}

impl DecodedRecord {
    /// Decodes the record of the batch at `index`, which must exist.
    ///
    /// # Errors
    /// Those of [`decode`].
    pub(crate) fn decode(records: Arc<RecordBatch>, index: usize) -> Result<Self, DecodeError> {
        let envelope = Yoke::try_attach_to_cart(records, |records| decode(&record_at(records, index)))?;
        Ok(Self { envelope, index })
    }

    pub(crate) fn envelope(&self) -> &Envelope<'_> {
        self.envelope.get()
    }

    pub(crate) fn record(&self) -> RecordRef<'_> {
        record_at(self.envelope.backing_cart(), self.index)
    }
}

fn record_at(records: &RecordBatch, index: usize) -> RecordRef<'_> {
    #[expect(clippy::expect_used, reason = "the index of a record is taken from its own batch")]
    records.get(index).expect("a record is in its batch")
}
