//! JSON that keeps numbers as they were written: `1.0`, `1e400` and thirty digits have no exact binary float.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::value::RawValue;

/// A JSON document.
#[derive(Debug)]
pub(crate) enum Json {
    /// Members in their original order.
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    /// A number, `true`, `false` or `null`, as it was written.
    Word(Box<RawValue>),
}

impl Json {
    /// Parses a payload; `None` if it is not JSON, or nested too deeply for the parser.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    /// Sorts the members of all objects by name.
    pub(super) fn sort(&mut self) {
        match self {
            Self::Object(members) => {
                members.sort_by(|(one, _), (other, _)| one.cmp(other));
                for (_, value) in members {
                    value.sort();
                }
            }
            Self::Array(values) => values.iter_mut().for_each(Self::sort),
            Self::Text(_) | Self::Word(_) => {}
        }
    }

    /// Formats the document with one line for each member.
    pub(crate) fn pretty(&self) -> String {
        // Member names are strings and words are parsed JSON, so serialization does not fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Object(one), Self::Object(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Word(one), Self::Word(other)) => one.get() == other.get(),
            _ => false,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Only `RawValue` preserves a number as it was written.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        let read = match text.as_bytes().first() {
            Some(b'{') => serde_json::from_str(text).map(|Members(members)| Self::Object(members)),
            Some(b'[') => serde_json::from_str(text).map(Self::Array),
            Some(b'"') => serde_json::from_str(text).map(Self::Text),
            _ => return Ok(Self::Word(raw)),
        };
        read.map_err(D::Error::custom)
    }
}

/// The members of an object; duplicate names are kept.
struct Members(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Self::Array(values) => values.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::Word(word) => word.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = r#"{"b":[1.0,1e400,-0],"a":{"n":123456789012345678901234567890,"t":"\u00e9\n"},"a":null}"#;

    #[test]
    fn numbers_keep_their_spelling() {
        let json = Json::read(ODD.as_bytes()).expect("JSON");
        let written = serde_json::to_string(&json).expect("a text");
        assert_eq!(written, ODD.replace("\\u00e9", "é"));
        let pretty = json.pretty();
        assert!(pretty.contains("    1.0,\n    1e400,\n    -0\n"), "{pretty}");
        assert!(pretty.contains("    \"n\": 123456789012345678901234567890,\n"), "{pretty}");
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let read = |text: &str| {
            let mut json = Json::read(text.as_bytes()).expect("JSON");
            json.sort();
            json
        };
        assert_eq!(read(r#"{"b":[{"d":1,"c":"é"}],"a":2}"#), read(r#"{ "a": 2, "b": [{"c":"\u00e9", "d": 1}] }"#));
        assert_ne!(read("[1.0]"), read("[1.00]"), "another spelling is another document");
        assert_ne!(read("123456789012345678901234567890"), read("123456789012345678901234567891"));
        assert_ne!(read("[]"), read("{}"));
    }

    #[test]
    fn invalid_json_is_none() {
        for payload in [&b"{"[..], b"", b"\xff", b"{\"a\":1}x", b"\"\\ud800\""] {
            assert_eq!(Json::read(payload), None, "{payload:?}");
        }
        assert_eq!(Json::read("[".repeat(100_000).as_bytes()), None);
    }
}
