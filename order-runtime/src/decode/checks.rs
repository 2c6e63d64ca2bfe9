//! The checks that all formats share: of a payload's bytes before it is decoded, and of an envelope's members.

use jiff::Timestamp;
use memchr::memmem;

use super::{DecodeError, MAX_DEPTH, MAX_NAME};
use crate::model::RecordRef;

/// Checks that the payload of a record is safe to decode as a JSON object, and returns it as text.
pub(super) fn payload<'r>(record: &RecordRef<'r>) -> Result<&'r str, DecodeError> {
    let Some(payload) = record.payload else {
        return Err(DecodeError::new("tombstone", "the record has no payload; an event is a JSON object"));
    };
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| {
        let valid = simdutf8::compat::from_utf8(payload).map_or_else(|error| error.valid_up_to(), str::len);
        DecodeError::new("not_utf8", format!("the payload is not UTF-8 from byte {valid} on"))
    })?;
    match text.trim_start_matches([' ', '\t', '\n', '\r']).bytes().next() {
        Some(b'{') => {}
        Some(_) => {
            return Err(DecodeError::new(
                "not_an_object",
                "the payload does not begin with `{`; an event is a JSON object",
            ));
        }
        None => return Err(DecodeError::new("empty", "the payload is empty; an event is a JSON object")),
    }
    check_depth(payload)?;
    check_nul(payload)?;
    Ok(text)
}

/// Refuses nesting deeper than [`MAX_DEPTH`], also in unknown members.
fn check_depth(payload: &[u8]) -> Result<(), DecodeError> {
    // Most payloads have fewer brackets than the allowed depth, so counting them is enough. `[` and `{` differ in one bit, and
    // the compiler vectorizes a loop that counts in bytes without branches.
    let brackets = |bytes: &[u8]| bytes.iter().map(|byte| u8::from(*byte | 0x20 == b'{')).sum::<u8>();
    if payload.chunks(usize::from(u8::MAX)).map(|chunk| usize::from(brackets(chunk))).sum::<usize>() <= MAX_DEPTH {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in payload.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    let message = format!("the payload nests deeper than {MAX_DEPTH} levels at byte {at}");
                    return Err(DecodeError::new("too_deep", message));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses the character U+0000, which JSON can escape and PostgreSQL cannot keep.
fn check_nul(payload: &[u8]) -> Result<(), DecodeError> {
    // Most payloads have no escapes, and one byte is found faster than six.
    if memchr::memchr(b'\\', payload).is_none() {
        return Ok(());
    }
    for at in memmem::find_iter(payload, br"\u0000") {
        // After an even number of backslashes this one begins an escape; after an odd one it is itself escaped.
        let before = payload[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if before % 2 == 0 {
            let message = format!("the payload has the character U+0000 at byte {at}; leave it out");
            return Err(DecodeError::new("nul_character", message));
        }
    }
    Ok(())
}

fn has_control(text: &str) -> bool {
    // Nearly all names and ids are printable ASCII, which needs no decoding of characters.
    let is_plain = text.bytes().map(|byte| u8::from(!(b' '..=b'~').contains(&byte))).max() != Some(1);
    !is_plain && text.chars().any(char::is_control)
}

/// Checks the name of an event.
pub(crate) fn check_name(name: &str) -> Result<(), DecodeError> {
    if name.is_empty() {
        return Err(DecodeError::new("no_name", "the event's name is empty"));
    }
    if name.len() > MAX_NAME || has_control(name) {
        let message = format!("the event's name is longer than {MAX_NAME} bytes or has control characters");
        return Err(DecodeError::new("bad_name", message));
    }
    Ok(())
}

/// Checks the id of an event.
pub(super) fn check_id(id: &str) -> Result<(), DecodeError> {
    // Counted in characters, as in the published schema; a character has at most four bytes.
    let is_long = id.len() > MAX_NAME && id.chars().count() > MAX_NAME;
    if id.is_empty() || is_long || has_control(id) {
        let message = format!("the event's id is empty, longer than {MAX_NAME} characters, or has control characters");
        return Err(DecodeError::new("bad_id", message));
    }
    Ok(())
}

/// Parses the time of an event.
pub(super) fn parse_time(time: &str) -> Result<Timestamp, DecodeError> {
    time.parse()
        .or_else(|error| cut_fraction(time).ok_or(error)?.parse())
        .map_err(|_| DecodeError::new("bad_time", "the event's time is not RFC 3339, such as 2026-01-31T12:00:00Z"))
}

/// The time with its fraction of a second cut to nine digits; `None` if it has no more. RFC 3339 allows any number of digits,
/// but a timestamp keeps nanoseconds.
fn cut_fraction(time: &str) -> Option<String> {
    const NANOSECONDS: usize = 9;
    let (seconds, fraction) = time.split_once('.')?;
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    (digits > NANOSECONDS).then(|| format!("{seconds}.{}{}", &fraction[..NANOSECONDS], &fraction[digits..]))
}
