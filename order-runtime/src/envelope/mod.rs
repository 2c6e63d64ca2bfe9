//! The envelope of an event: who it is, what it is called, and where in the payload its data lies.

use std::ops::Range;

use jiff::Timestamp;

/// A decoded envelope. Texts and data are places in the record's payload wherever they can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The producer's id of the event; `None` where it gave none.
    pub id: Option<Text>,
    /// The event's name.
    pub name: Text,
    /// The event's version, 1 where it says none.
    pub version: u32,
    /// When it happened, by its producer.
    pub occurred_at: Option<Timestamp>,
    /// Where the data lies in the payload; JSON text.
    pub data: Range<usize>,
}

impl Envelope {
    /// The JSON text of the event's data; `payload` is the one that the envelope was decoded from.
    pub fn data<'a>(&self, payload: &'a [u8]) -> &'a str {
        // Decoding has checked that the payload is UTF-8 and that the range lies within it.
        payload.get(self.data.clone()).and_then(|data| std::str::from_utf8(data).ok()).unwrap_or("null")
    }
}

/// A text of the envelope: a place in the payload, or owned where it was escaped or came in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Bytes of the payload.
    Place(Range<usize>),
    /// A text of its own.
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

/// Why a record is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// A short, stable name of what is wrong.
    pub code: &'static str,
    /// What is wrong and where.
    pub message: String,
}

/// Decodes.
pub fn decode(_record: &crate::broker::RecordRef<'_>) -> Result<Envelope, Undecodable> {
    todo!()
}
