//! The errors of `#[id]` and `#[values]` types, and the rule that all ids follow.

use schemars::{Schema, json_schema};

/// The rule of an `#[id]` type: a text that is not too long and has no control characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRule {
    /// The type's name in a sentence, for example `a thing id`.
    pub name: &'static str,
    /// The maximum length.
    pub max: usize,
    /// Whether the length is counted in characters, as JSON Schema does, instead of bytes.
    pub in_chars: bool,
}

/// The error for a text that is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} has 1 to {} {} and no control characters", .0.name, .0.max, if .0.in_chars { "characters" } else { "bytes" })]
pub struct InvalidId(pub IdRule);

/// The error for a text that is none of an enum's values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {name}; known values are {known}")]
pub struct UnknownValue {
    name: &'static str,
    text: String,
    known: String,
}

impl UnknownValue {
    /// The error for `text`, which is not the value that `name` calls for; `known` are the values.
    pub fn new(name: &'static str, text: &str, known: &[&str]) -> Self {
        Self { name, text: text.to_owned(), known: known.join(", ") }
    }
}

impl IdRule {
    /// Checks a text.
    ///
    /// # Errors
    /// When the text is empty, too long, or has a control character.
    pub fn check(self, text: &str) -> Result<(), InvalidId> {
        // Most ids are short enough in bytes, so their characters need not be counted.
        let is_short = text.len() <= self.max || (self.in_chars && text.chars().count() <= self.max);
        let fits = !text.is_empty() && is_short && !text.chars().any(char::is_control);
        if fits { Ok(()) } else { Err(InvalidId(self)) }
    }

    /// The rule as JSON Schema, which counts characters.
    pub fn json_schema(self) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": self.max,
            "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_texts_without_control_characters() {
        let characters = IdRule { name: "a thing id", max: 128, in_chars: true };
        let bytes = IdRule { in_chars: false, ..characters };
        for text in ["thing-1", &"x".repeat(128)] {
            assert_eq!((characters.check(text), bytes.check(text)), (Ok(()), Ok(())), "{text:?}");
        }
        let accented = "é".repeat(128);
        assert_eq!((characters.check(&accented), bytes.check(&accented)), (Ok(()), Err(InvalidId(bytes))));
        for text in ["", "a\nb", "a\0b", "a\u{85}", &"x".repeat(129), &"é".repeat(129)] {
            assert_eq!(characters.check(text), Err(InvalidId(characters)), "{text:?}");
        }
        assert_eq!(InvalidId(bytes).to_string(), "a thing id has 1 to 128 bytes and no control characters");
    }
}
