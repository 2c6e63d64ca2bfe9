//! The id of a dead letter, and its reason.

use std::ops::Deref;

use uuid::Uuid;

/// Why an event is a dead letter; the value of `dlq-reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The record is not an event.
    Undecodable,
    /// No processor handles events of that name.
    UnknownEvent,
    /// The data does not fit the schema, or the version or the id is wrong.
    Invalid,
    /// The processor refuses the event permanently.
    Rejected,
    /// The last attempt failed.
    Exhausted,
    /// The last attempt took too long.
    Timeout,
    /// The last attempt panicked.
    Panic,
    /// The record is larger than the service accepts.
    TooLarge,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Undecodable,
        Self::UnknownEvent,
        Self::Invalid,
        Self::Rejected,
        Self::Exhausted,
        Self::Timeout,
        Self::Panic,
        Self::TooLarge,
    ];

    /// The value of `dlq-reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownEvent => "unknown_event",
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::TooLarge => "too_large",
        }
    }
}

/// The id of a dead letter that the service wrote: 128 bits, written as 32 hexadecimal digits in lower case.
///
/// It is not a UUID; the type `Uuid` only reads and writes the digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(Uuid);

impl DeadLetterId {
    /// Parses an id; `None` for any text that is not exactly the form of [`digits`](Self::digits).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let id = Self(Uuid::try_parse_ascii(text).ok()?);
        // The parser of `Uuid` also accepts hyphens, braces and capitals.
        (id.digits().as_bytes() == text).then_some(id)
    }

    /// The id as text.
    pub fn digits(self) -> Digits {
        let mut digits = [0; DIGITS];
        self.0.simple().encode_lower(&mut digits);
        Digits(digits)
    }
}

impl From<u128> for DeadLetterId {
    fn from(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }
}

const DIGITS: usize = uuid::fmt::Simple::LENGTH;

/// A [`DeadLetterId`] as text.
#[derive(Debug, Clone, Copy)]
pub struct Digits([u8; DIGITS]);

impl Deref for Digits {
    type Target = str;

    fn deref(&self) -> &str {
        // They are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_not_otherwise() {
        let id = DeadLetterId::from(0xab);
        assert_eq!(&*id.digits(), "000000000000000000000000000000ab");
        assert_eq!(DeadLetterId::parse(id.digits().as_bytes()), Some(id));
        let others =
            ["", "ab", "000000000000000000000000000000AB", "00000000-0000-0000-0000-0000000000ab", "things-0-7"];
        assert!(others.iter().all(|other| DeadLetterId::parse(other.as_bytes()).is_none()));
    }
}
