//! The envelope as a JSON object: the service's own form and `CloudEvent`s in structured mode.

use std::{borrow::Cow, fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Envelope, Text, Undecodable, check_id, check_name, check_specversion, parse_time, whole::integer};

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
    pub(super) fn of(name: &str) -> Self {
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

/// The values of the members, as JSON text of the payload.
#[derive(Default)]
struct Raw<'a> {
    id: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    version: Option<&'a RawValue>,
    time: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    specversion: Option<&'a RawValue>,
    dataversion: Option<&'a RawValue>,
    data_base64: bool,
    source: Option<&'a RawValue>,
    /// Whether `source` is repeated, which is an error only in a `CloudEvent`.
    source_twice: bool,
    /// The first repeated member, except `source`.
    twice: Option<&'static str>,
}

impl<'a> Raw<'a> {
    /// The place of a member's value.
    fn slot(&mut self, member: Member) -> Option<&mut Option<&'a RawValue>> {
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
}

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
                let mut raw = Raw::default();
                while let Some(MemberName(member)) = map.next_key()? {
                    raw.data_base64 |= member == Member::DataBase64;
                    match raw.slot(member) {
                        Some(slot) => {
                            let value = map.next_value()?;
                            if slot.replace(value).is_some() {
                                raw.source_twice |= member == Member::Source;
                                if member != Member::Source {
                                    raw.twice.get_or_insert(member.name());
                                }
                            }
                        }
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// The name of a member, matched without storing its text.
struct MemberName(Member);

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = MemberName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E>(self, name: &str) -> Result<MemberName, E> {
                Ok(MemberName(Member::of(name)))
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// Decodes an envelope that is a JSON object.
pub(super) fn decode(payload: &str) -> Result<Envelope, Undecodable> {
    let raw: Raw<'_> = serde_json::from_str(payload).map_err(|error| not_json(&error))?;
    let source_twice = raw.specversion.filter(|_| raw.source_twice).map(|_| Member::Source.name());
    if let Some(member) = raw.twice.or(source_twice) {
        let message = format!("the member {member} occurs twice, under any of its spellings");
        return Err(Undecodable::new("duplicate_member", message));
    }
    if let Some(version) = raw.specversion {
        check_specversion(&string(payload, version, "specversion")?.of(payload))?;
    }
    // Without a specversion, `source` is an unknown member.
    let source = raw.source.filter(|source| raw.specversion.is_some() && !matches!(source.get(), "null" | "\"\""));
    let source = source.map(|source| string(payload, source, "source")).transpose()?;
    if raw.data_base64 {
        return Err(Undecodable::new("data_base64", "the data is Base64; send it as JSON in `data`"));
    }
    let Some(name) = raw.name else {
        return Err(Undecodable::new("no_name", "the member eventName is missing; it names the event"));
    };
    let name = string(payload, name, "eventName")?;
    check_name(&name.of(payload))?;
    let id = raw.id.filter(|id| id.get() != "null").map(|id| string(payload, id, "eventId")).transpose()?;
    if let Some(id) = &id {
        check_id(&id.of(payload))?;
    }
    let time =
        raw.time.filter(|time| time.get() != "null").map(|time| string(payload, time, "occurredAt")).transpose()?;
    Ok(Envelope {
        id: id.map(Value::into_text),
        source: source.map(Value::into_text),
        name: name.into_text(),
        version: version(raw.version.or(raw.dataversion))?,
        occurred_at: time.map(|time| parse_time(&time.of(payload))).transpose()?,
        data: raw.data.map_or(0..0, |data| place(payload, data.get())),
    })
}

/// A string member: its text without the quotes, as a range of the payload if nothing in it is escaped.
enum Value<'a> {
    Place(Range<usize>),
    Owned(Cow<'a, str>),
}

impl Value<'_> {
    fn of<'p>(&'p self, payload: &'p str) -> Cow<'p, str> {
        match self {
            Self::Place(range) => Cow::Borrowed(payload.get(range.clone()).unwrap_or_default()),
            Self::Owned(text) => Cow::Borrowed(text),
        }
    }

    fn into_text(self) -> Text {
        match self {
            Self::Place(range) => Text::Place(range),
            Self::Owned(text) => Text::Owned(text.into()),
        }
    }
}

fn string<'a>(payload: &str, value: &'a RawValue, member: &'static str) -> Result<Value<'a>, Undecodable> {
    let raw = value.get();
    if let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && !inner.contains('\\')
    {
        return Ok(Value::Place(place(payload, inner)));
    }
    serde_json::from_str::<String>(raw).map(|text| Value::Owned(text.into())).map_err(|_| {
        let code = match member {
            "eventId" => "bad_id",
            "eventName" => "bad_name",
            "occurredAt" => "bad_time",
            "source" => "bad_source",
            _ => "bad_specversion",
        };
        Undecodable::new(code, format!("the member {member} is not a string"))
    })
}

fn version(value: Option<&RawValue>) -> Result<u32, Undecodable> {
    let Some(value) = value.map(RawValue::get).filter(|value| *value != "null") else { return Ok(1) };
    // In the extension attributes of older senders, CloudEvents allows only strings.
    let text = value.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    // JSON Schema counts 2.0 as the integer 2.
    let number = text.is_none().then(|| integer(value)).flatten();
    let digits = text.or(number.as_deref()).unwrap_or(value);
    digits
        .parse()
        .ok()
        .filter(|version| *version > 0 && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| Undecodable::new("bad_version", "the member version is not a whole number from 1 on"))
}

/// The range of `part` in the payload that it is borrowed from.
fn place(payload: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - payload.as_ptr().addr();
    start..start + part.len()
}

/// The parser's error with line and column, but without its quotations from the payload.
pub(super) fn not_json(error: &serde_json::Error) -> Undecodable {
    not_json_behind(&[], error)
}

/// Like [`not_json`], for a text that was parsed from the end of `before` on.
pub(super) fn not_json_behind(before: &[u8], error: &serde_json::Error) -> Undecodable {
    use serde_json::error::Category;
    let lines = memchr::memchr_iter(b'\n', before).count();
    let last_line = memchr::memrchr(b'\n', before).map_or(before.len(), |end| before.len() - end - 1);
    let (line, column) = (lines + error.line(), error.column() + if error.line() == 1 { last_line } else { 0 });
    let what = match error.classify() {
        Category::Eof => "the payload ends before its JSON is complete",
        Category::Syntax | Category::Data | Category::Io => "the payload is not JSON",
    };
    Undecodable::new("not_json", format!("{what}, at line {line} column {column}"))
}
