//! The envelope as a JSON object: the service's own form and `CloudEvent`s in structured mode.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    DecodeError, Decoder, Envelope,
    checks::{self, check_id, check_name, parse_time},
    cloudevents,
    whole::integer,
};
use crate::model::RecordRef;

/// Events that are one JSON object. It takes any record, so it comes last.
pub(super) struct Json;

impl Decoder for Json {
    fn recognizes(&self, _record: &RecordRef<'_>) -> bool {
        true
    }

    fn decode<'r>(&self, record: &RecordRef<'r>) -> Result<Envelope<'r>, DecodeError> {
        let payload = checks::payload(record)?;
        usual(payload).map_or_else(|| Members::envelope(payload), Ok)
    }
}

/// The members of an envelope, in any of their spellings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    Id,
    Name,
    Version,
    Time,
    Data,
    SpecVersion,
    DataVersion,
    DataBase64,
    Source,
    Unknown,
}

impl Member {
    fn of(name: &str) -> Self {
        match name {
            "eventId" | "event_id" | "id" => Self::Id,
            "eventName" | "event_name" | "name" | "type" => Self::Name,
            "version" => Self::Version,
            "occurredAt" | "occurred_at" | "time" => Self::Time,
            "data" => Self::Data,
            "specversion" => Self::SpecVersion,
            "dataversion" => Self::DataVersion,
            "data_base64" => Self::DataBase64,
            "source" => Self::Source,
            _ => Self::Unknown,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Id => "eventId",
            Self::Name => "eventName",
            Self::Version => "version",
            Self::Time => "occurredAt",
            Self::Data => "data",
            Self::SpecVersion => "specversion",
            Self::DataVersion => "dataversion",
            Self::DataBase64 => "data_base64",
            Self::Source => "source",
            Self::Unknown => "?",
        }
    }
}

/// The values of the members, as JSON text.
#[derive(Default)]
pub(super) struct Members<'r> {
    id: Option<&'r RawValue>,
    name: Option<&'r RawValue>,
    version: Option<&'r RawValue>,
    time: Option<&'r RawValue>,
    data: Option<&'r RawValue>,
    pub(super) specversion: Option<&'r RawValue>,
    dataversion: Option<&'r RawValue>,
    has_base64: bool,
    pub(super) source: Option<&'r RawValue>,
    /// `source` alone may be repeated, unless the event is a `CloudEvent`.
    pub(super) is_source_repeated: bool,
    /// The first repeated member, except `source`.
    repeated: Option<Member>,
}

impl<'r> Members<'r> {
    /// The place of a member's value.
    fn slot(&mut self, member: Member) -> Option<&mut Option<&'r RawValue>> {
        Some(match member {
            Member::Id => &mut self.id,
            Member::Name => &mut self.name,
            Member::Version => &mut self.version,
            Member::Time => &mut self.time,
            Member::Data => &mut self.data,
            Member::SpecVersion => &mut self.specversion,
            Member::DataVersion => &mut self.dataversion,
            Member::Source => &mut self.source,
            Member::DataBase64 | Member::Unknown => return None,
        })
    }

    fn envelope(payload: &'r str) -> Result<Envelope<'r>, DecodeError> {
        let members: Self = serde_json::from_str(payload).map_err(|error| not_json(&error))?;
        if let Some(member) = members.repeated {
            return Err(repeated(member));
        }
        let source = cloudevents::structured_source(&members)?;
        if members.has_base64 {
            return Err(DecodeError::new("data_base64", "the data is Base64; send it as JSON in `data`"));
        }
        let Some(name) = members.name else {
            return Err(DecodeError::new("no_name", "the member eventName is missing; it names the event"));
        };
        let name = text(name, Member::Name, "bad_name")?;
        check_name(&name)?;
        let id = members.id.and_then(given).map(|id| text(id, Member::Id, "bad_id")).transpose()?;
        id.as_deref().map(check_id).transpose()?;
        let time = members.time.and_then(given).map(|time| text(time, Member::Time, "bad_time")).transpose()?;
        let version = members.version.or(members.dataversion).and_then(given).map_or(Ok(1), version)?;
        let occurred_at = time.as_deref().map(parse_time).transpose()?;
        let data = members.data.map_or("null", RawValue::get).into();
        Ok(Envelope { id, source, name, version, occurred_at, data })
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(member) = map.next_key()? {
                    members.has_base64 |= member == Member::DataBase64;
                    let Some(slot) = members.slot(member) else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    if slot.replace(map.next_value()?).is_none() {
                        continue;
                    }
                    match member {
                        Member::Source => members.is_source_repeated = true,
                        _ => members.repeated = members.repeated.or(Some(member)),
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Matched without storing its text.
impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Member;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Member, E> {
                Ok(Member::of(name))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// A value that is not `null`.
fn given(value: &RawValue) -> Option<&RawValue> {
    (value.get() != "null").then_some(value)
}

/// The text of a member that has to be a string; `code` is that of the error.
pub(super) fn text<'r>(value: &'r RawValue, member: Member, code: &'static str) -> Result<Cow<'r, str>, DecodeError> {
    let json = value.get();
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(text) = inner.filter(|inner| !inner.contains('\\')) {
        return Ok(text.into());
    }
    serde_json::from_str::<String>(json)
        .map(Cow::Owned)
        .map_err(|_| DecodeError::new(code, format!("the member {} is not a string", member.name())))
}

fn version(value: &RawValue) -> Result<u32, DecodeError> {
    let value = value.get();
    // In the extension attributes of older senders, CloudEvents allows only strings.
    let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    // JSON Schema counts 2.0 as the integer 2.
    let number = text.is_none().then(|| integer(value)).flatten();
    let digits = text.or(number.as_deref()).unwrap_or(value);
    digits
        .parse()
        .ok()
        .filter(|version| *version > 0 && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| DecodeError::new("bad_version", "the member version is not a whole number from 1 on"))
}

pub(super) fn repeated(member: Member) -> DecodeError {
    let message = format!("the member {} occurs twice, under any of its spellings", member.name());
    DecodeError::new("duplicate_member", message)
}

/// Checks that a text is JSON.
pub(super) fn check(text: &str) -> Result<(), DecodeError> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| not_json(&error))
}

/// The parser's error with line and column, but without its quotations from the payload.
fn not_json(error: &serde_json::Error) -> DecodeError {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Eof => "the payload ends before its JSON is complete",
        Category::Syntax | Category::Data | Category::Io => "the payload is not JSON",
    };
    DecodeError::new("not_json", format!("{what}, at line {} column {}", error.line(), error.column()))
}

/// Reads an envelope as most producers write it: no member is unknown or repeated, and no text has an escape. `None` for any other
/// payload, also for one with an error: [`Members`] reads it. For a small event, they need 1,400 instructions
/// more, a sixth of all that the engine needs for it.
fn usual(payload: &str) -> Option<Envelope<'_>> {
    let mut cursor = Cursor { text: payload, at: 0 };
    let (mut id, mut name, mut version, mut time, mut data) = (None, None, None, None, None);
    cursor.skip(b'{')?;
    loop {
        let member = Member::of(cursor.string()?);
        cursor.skip(b':')?;
        let is_repeated = match member {
            Member::Id => id.replace(cursor.string()?).is_some(),
            Member::Name => name.replace(cursor.string()?).is_some(),
            Member::Version => version.replace(cursor.number()?).is_some(),
            Member::Time => time.replace(cursor.string()?).is_some(),
            Member::Data => data.replace(cursor.value()?).is_some(),
            _ => return None,
        };
        if is_repeated {
            return None;
        }
        if cursor.skip(b',').is_none() {
            break;
        }
    }
    cursor.skip(b'}')?;
    cursor.is_at_end().then_some(())?;
    let name = name?;
    check_name(name).ok()?;
    id.map(check_id).transpose().ok()?;
    let occurred_at = time.map(parse_time).transpose().ok()?;
    let (version, data) = (version.unwrap_or(1), data.unwrap_or("null").into());
    Some(Envelope { id: id.map(Cow::Borrowed), source: None, name: name.into(), version, occurred_at, data })
}

/// A place in a JSON text.
struct Cursor<'r> {
    text: &'r str,
    at: usize,
}

impl<'r> Cursor<'r> {
    fn peek(&mut self) -> Option<u8> {
        let byte = |at| self.text.as_bytes().get(at).copied();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = byte(self.at) {
            self.at += 1;
        }
        byte(self.at)
    }

    fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Skips that byte, and whitespace before it; `None` if another follows.
    fn skip(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    /// Skips a string without escapes, and returns its text. The text may have control characters, which JSON does not allow;
    /// every check of a text refuses them.
    fn string(&mut self) -> Option<&'r str> {
        self.skip(b'"')?;
        let rest = self.text.get(self.at..)?;
        let length = memchr::memchr2(b'"', b'\\', rest.as_bytes())?;
        self.at += length;
        self.skip(b'"')?;
        rest.get(..length)
    }

    /// Skips a whole number from 1 on, as JSON writes it, and returns it.
    fn number(&mut self) -> Option<u32> {
        self.peek()?;
        let rest = self.text.get(self.at..)?;
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += length;
        rest.get(..length).filter(|digits| !digits.starts_with('0'))?.parse().ok()
    }

    /// Skips a value, and returns its text.
    fn value(&mut self) -> Option<&'r str> {
        self.peek()?;
        let rest = self.text.get(self.at..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        rest.get(..values.byte_offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Both ways give the same envelope for every payload that the short one accepts.
        #[test]
        fn the_usual_envelope_is_read_like_any_other(
            members in proptest::collection::vec(0_usize..17, 1..6), cut in 0_usize..300, at in 0_usize..300, byte in 0_u8..128
        ) {
            const MEMBERS: [&str; 17] = [
                r#""eventId":"1""#, "\n\"eventName\" :\n \"A\"", r#""version":3"#, r#""occurredAt":"2026-01-31T12:00:00Z""#,
                "\"data\"\n:\n\n {\"a\":1,\n\"b\":[0.5,{}]}", r#""data":{"a":"}{","ä":null}"#, r#""more":[{}]"#, r#""id":null"#,
                r#""data":[]"#, r#""id":"x\"""#, r#""time":"never""#, r#""version":0"#, r#""version":null"#, r#""version":"2""#,
                r#""dataversion":"2""#, r#""source":"/x""#, r#""data":null"#,
            ];
            let members: Vec<_> = members.iter().map(|member| MEMBERS[*member]).collect();
            let mut payload = format!(r#"{{"name":"C",{}}}"#, members.join(",")).into_bytes();
            payload.truncate(cut.max(12));
            if let Some(changed) = payload.get_mut(at) {
                *changed = byte;
            }
            if let Ok(payload) = std::str::from_utf8(&payload)
                && let Some(envelope) = usual(payload)
            {
                proptest::prop_assert_eq!(Ok(envelope), Members::envelope(payload));
            }
        }
    }

    #[test]
    fn the_usual_envelope_may_have_its_members_in_any_order() {
        for payload in [
            r#"{"eventId":"1","eventName":"A","version":2,"occurredAt":"2026-01-31T12:00:00Z","data":{"a":[{}]}}"#,
            r#"{"data":{"eventName":"B"},"version":2,"name":"A"}"#,
            r#"{"eventName":"A"}"#,
        ] {
            assert_eq!(usual(payload).map(Ok), Some(Members::envelope(payload)), "{payload}");
        }
    }
}
