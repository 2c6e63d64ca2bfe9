//! The fast path: reads an envelope in its usual form up to the start of its data.
//!
//! The data is then decoded in place by its own type, so that its bytes are read once instead of twice. The full decoder in
//! `json` handles all other envelopes and reports their errors: an escape in a text, an unknown or repeated member, a value of
//! another type.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::{Envelope, Text, check_id, check_name, json::Member, parse_time};

/// Reads the members before the data. The text after the data is not checked: see [`ends`].
pub(super) fn read(text: &str) -> Option<Envelope> {
    let mut cursor = Cursor { text, at: 0 };
    let (mut id, mut name, mut version, mut time) = (None, None, None, None);
    cursor.byte(b'{')?;
    loop {
        let member = Member::of(text.get(cursor.string()?)?);
        cursor.byte(b':')?;
        let before = match member {
            Member::Id => id.replace(cursor.string()?).is_some(),
            Member::Name => name.replace(cursor.string()?).is_some(),
            Member::Time => time.replace(cursor.string()?).is_some(),
            Member::Version => version.replace(cursor.number()?).is_some(),
            Member::Data => break,
            Member::SpecVersion | Member::DataVersion | Member::DataBase64 | Member::Source | Member::Unknown => {
                return None;
            }
        };
        if before {
            return None;
        }
        cursor.byte(b',')?;
    }
    cursor.blanks();
    let data = cursor.at..text.len();
    (cursor.peek()? == b'{').then_some(())?;
    let name = name?;
    check_name(text.get(name.clone())?).ok()?;
    if let Some(id) = &id {
        check_id(text.get(id.clone())?).ok()?;
    }
    let occurred_at = match time {
        Some(time) => Some(parse_time(text.get(time)?).ok()?),
        None => None,
    };
    let version = version.unwrap_or(1);
    Some(Envelope { id: id.map(Text::Place), source: None, name: Text::Place(name), version, occurred_at, data })
}

/// The length in bytes of an envelope's data, with which `rest` begins; `None` if more than the envelope's end follows it.
///
/// # Errors
/// If the data is not JSON.
pub(super) fn length_of_data(rest: &str) -> serde_json::Result<Option<usize>> {
    let length = length_of_value(rest)?;
    Ok(length.filter(|length| rest.get(*length..).is_some_and(ends)))
}

/// The length in bytes of the value that a text begins with; `None` if there is no value.
///
/// # Errors
/// If the value is not JSON.
pub(crate) fn length_of_value(text: &str) -> serde_json::Result<Option<usize>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let Some(value) = values.next() else { return Ok(None) };
    value?;
    Ok(Some(values.byte_offset()))
}

/// Whether an envelope ends with its data: only the closing brace and whitespace follow.
pub(super) fn ends(rest: &str) -> bool {
    const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
    let rest = rest.trim_start_matches(BLANKS).strip_prefix('}');
    rest.is_some_and(|rest| rest.trim_start_matches(BLANKS).is_empty())
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Skips that byte, and whitespace before it.
    fn byte(&mut self, wanted: u8) -> Option<()> {
        self.blanks();
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// Skips a string without escapes, and returns its range. The string may have control characters, which JSON does not
    /// allow; every use of the string refuses them.
    fn string(&mut self) -> Option<Range<usize>> {
        self.byte(b'"')?;
        let length = memchr::memchr2(b'"', b'\\', self.text.as_bytes().get(self.at..)?)?;
        let place = self.at..self.at + length;
        self.at = place.end;
        self.byte(b'"')?;
        Some(place)
    }

    /// Skips a whole number from 1 on, as JSON writes it, and returns it.
    fn number(&mut self) -> Option<u32> {
        self.blanks();
        let start = self.at;
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        let digits = self.text.get(start..self.at)?;
        if digits.starts_with('0') { None } else { digits.parse().ok() }
    }
}

#[cfg(test)]
mod tests {
    use crate::decode::head::*;
    use crate::decode::json;

    /// An envelope, and the text of its data.
    type Read<'t> = Option<(Envelope, &'t str)>;

    /// The results of the full decoder and of the fast path for the same text.
    fn both(text: &str) -> (Read<'_>, Read<'_>) {
        let long = json::decode(text).ok().map(|envelope| {
            let data = &text[envelope.data.clone()];
            (Envelope { data: 0..0, ..envelope }, data)
        });
        let short = read(text).and_then(|envelope| {
            let open = &text[envelope.data.clone()];
            let data = &open[..length_of_data(open).ok()??];
            Some((Envelope { data: 0..0, ..envelope }, data))
        });
        (long, short)
    }

    #[test]
    fn usual_envelopes_are_read_on_the_fast_path() {
        for text in [
            r#"{"eventId":"1","eventName":"A","version":2,"occurredAt":"2026-01-31T12:00:00Z","data":{"a":[{}]}}"#,
            r#"{"eventName":"A","data":{}}"#,
            "{ \"id\" : \"1\" ,\n \"name\":\"A\",\t\"data\" : {\"eventName\":\"B\"} \r\n } \n",
            r#"{"event_id":"1","event_name":"Ä","occurred_at":"2026-01-31T12:00:00+01:00","data":{"b":"}"}}"#,
        ] {
            let (long, short) = both(text);
            assert!(short.is_some(), "{text}");
            assert_eq!(short, long, "{text}");
        }
    }

    #[test]
    fn unusual_envelopes_are_left_to_the_full_decoder() {
        for text in [
            "",
            "{",
            "{}",
            r#"{"eventName":"A"}"#,
            r#"{"data":{},"eventName":"A"}"#,
            r#"{"eventName":"A","data":{},"version":2}"#,
            r#"{"eventName":"A","data":{}}}"#,
            r#"{"eventName":"A","data":{"#,
            r#"{"eventName":"A","data":[]}"#,
            r#"{"eventName":"A","data":null}"#,
            r#"{"eventName":"A","eventName":"A","data":{}}"#,
            r#"{"eventName":"A","name":"A","data":{}}"#,
            r#"{"eventName":"A\u0041","data":{}}"#,
            r#"{"eventName":"","data":{}}"#,
            r#"{"eventId":7,"eventName":"A","data":{}}"#,
            r#"{"eventId":null,"eventName":"A","data":{}}"#,
            r#"{"eventName":"A","version":0,"data":{}}"#,
            r#"{"eventName":"A","version":01,"data":{}}"#,
            r#"{"eventName":"A","version":1.0,"data":{}}"#,
            r#"{"eventName":"A","version":-1,"data":{}}"#,
            r#"{"eventName":"A","version":"1","data":{}}"#,
            r#"{"eventName":"A","occurredAt":"yesterday","data":{}}"#,
            r#"{"eventName":"A","specversion":"1.0","data":{}}"#,
            r#"{"eventName":"A","more":1,"data":{}}"#,
            "{\"event\nName\":\"A\",\"data\":{}}",
            "{\"eventName\":\"A\nB\",\"data\":{}}",
        ] {
            assert_eq!(both(text).1, None, "{text}");
        }
    }

    proptest::proptest! {
        /// Both agree on every text that the fast path accepts, whole or cut off anywhere.
        #[test]
        fn fast_path_and_full_decoder_agree(members in proptest::collection::vec(0_usize..12, 0..7), cut in 0_usize..400) {
            const MEMBERS: [&str; 12] = [
                r#""eventId":"1""#, r#""eventName":"A""#, r#""version":3"#, r#""occurredAt":"2026-01-31T12:00:00Z""#,
                r#""data":{"a":1}"#, r#""data":{"a":"}{"}"#, r#""id":"x\"""#, r#""more":[{}]"#, r#" "name" : "B" "#,
                r#""time":"never""#, r#""version":0"#, r#""dataversion":"2""#,
            ];
            let text = format!("{{{}}}", members.iter().map(|member| MEMBERS[*member]).collect::<Vec<_>>().join(","));
            let text = &text[..cut.min(text.len())];
            let (long, short) = both(text);
            if short.is_some() {
                proptest::prop_assert_eq!(short, long);
            }
        }
    }
}
