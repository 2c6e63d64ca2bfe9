//! Checks of a payload's bytes before it is decoded.

use memchr::memmem;

use super::{MAX_DEPTH, Undecodable};

/// Checks that a payload is safe to decode, and returns it as text.
pub(super) fn check(payload: &[u8]) -> Result<&str, Undecodable> {
    let text = simdutf8::basic::from_utf8(payload).map_err(|_| {
        let valid = simdutf8::compat::from_utf8(payload).map_or_else(|error| error.valid_up_to(), str::len);
        Undecodable::new("not_utf8", format!("the payload is not UTF-8 from byte {valid} on"))
    })?;
    match text.trim_start_matches([' ', '\t', '\n', '\r']).bytes().next() {
        Some(b'{') => {}
        Some(_) => {
            return Err(Undecodable::new(
                "not_an_object",
                "the payload does not begin with `{`; an event is a JSON object",
            ));
        }
        None => return Err(Undecodable::new("empty", "the payload is empty; an event is a JSON object")),
    }
    check_depth(payload)?;
    check_nul(payload)?;
    Ok(text)
}

/// Refuses nesting deeper than [`MAX_DEPTH`], also in unknown members.
fn check_depth(payload: &[u8]) -> Result<(), Undecodable> {
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
                    return Err(Undecodable::new("too_deep", message));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses the character U+0000, which JSON can escape and PostgreSQL cannot keep.
fn check_nul(payload: &[u8]) -> Result<(), Undecodable> {
    // Most payloads have no escapes, and one byte is found faster than six.
    if memchr::memchr(b'\\', payload).is_none() {
        return Ok(());
    }
    for at in memmem::find_iter(payload, br"\u0000") {
        // After an even number of backslashes this one begins an escape; after an odd one it is itself escaped.
        let before = payload[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if before % 2 == 0 {
            let message = format!("the payload has the character U+0000 at byte {at}; leave it out");
            return Err(Undecodable::new("nul_character", message));
        }
    }
    Ok(())
}
