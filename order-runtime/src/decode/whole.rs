//! Whole numbers that are written with a fraction or an exponent.

use std::borrow::Cow;

/// The most digits of an integer of 64 bits.
const DIGITS: usize = 20;

/// The same JSON with each whole number of up to [`DIGITS`] digits written as an integer: `2` instead of `2.0`, `100` instead of
/// `1e2`. A text that is not JSON does not become JSON.
pub(crate) fn numbers(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut rewritten = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at + 1),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let length = bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                if let Some(integer) = json.get(at..at + length).and_then(integer) {
                    rewritten.push_str(&json[copied..at]);
                    rewritten.push_str(&integer);
                    copied = at + length;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return json.into();
    }
    rewritten.push_str(&json[copied..]);
    rewritten.into()
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The digits of a whole number that is not written as an integer; `None` for any other number.
pub(crate) fn integer(number: &str) -> Option<String> {
    if number == "-0" {
        return Some("0".to_owned());
    }
    number.contains(['.', 'e', 'E']).then_some(())?;
    let (sign, absolute) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (mantissa, exponent) = absolute.split_once(['e', 'E']).unwrap_or((absolute, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Any other text is not JSON; it stays unchanged, so that it is refused later.
    let is_json = is_digits(whole) && is_digits(fraction) && (whole == "0" || !whole.starts_with('0'));
    is_json.then_some(())?;
    let exponent: i64 = exponent.parse().ok()?;
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let trailing = i64::try_from(digits.len() - digits.trim_end_matches('0').len()).ok()?;
    let zeros = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(trailing)?;
    let zeros = usize::try_from(zeros).ok()?;
    let is_short = significant.len().checked_add(zeros)? <= DIGITS;
    is_short.then(|| format!("{sign}{significant}{}", "0".repeat(zeros)))
}

#[cfg(test)]
mod tests {
    use crate::decode::whole::*;

    #[test]
    fn whole_numbers_become_integers_and_nothing_else_changes() {
        for (json, expected) in [
            (r#"{"a":2.0,"b":[1e2,-3.50e1,0.0,-0]}"#, r#"{"a":2,"b":[100,-35,0,0]}"#),
            (r#"{"2.0":"\"2.0","é":1.0}"#, r#"{"2.0":"\"2.0","é":1}"#),
            (r#"{"a":1.5,"b":1e-2,"c":25e-1,"d":7,"e":1e300}"#, r#"{"a":1.5,"b":1e-2,"c":25e-1,"d":7,"e":1e300}"#),
            (r#"{"a":01.0,"b":1.,"c":1e,"d":1.0.0,"e":--1.0"#, r#"{"a":01.0,"b":1.,"c":1e,"d":1.0.0,"e":--1.0"#),
        ] {
            assert_eq!(numbers(json), expected, "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn rewriting_any_text_ends(text in "[\\PC\\[\\]{}\",:\\\\0-9eE.+-]{0,80}") {
            let _ = numbers(&text);
        }
    }
}
