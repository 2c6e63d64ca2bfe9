//! Texts that may hold a secret.

use std::fmt;

/// A text that is a secret or may contain one. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` from being printed.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the text is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text for an error to quote, if nothing in it looks like credentials.
    ///
    /// A password may be pasted into any setting, so the text itself is checked.
    pub(super) fn quotable(&self) -> Option<&str> {
        const SIGNS: [&str; 7] = ["@", "passw", "pwd", "secret", "token", "credential", "key"];
        let text = self.0.to_ascii_lowercase();
        (!SIGNS.iter().any(|sign| text.contains(sign))).then_some(self.0.as_str())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_credentials_is_not_quoted() {
        for text in ["user:pw@host:9092", "Password=x", "https://a?access_token=x", "sasl.jaas.config=…secret"] {
            assert_eq!(Secret::new(text).quotable(), None, "{text}");
        }
        for text in ["80000", "[\"a\"", "postgres", "http://kafka:9092"] {
            assert_eq!(Secret::new(text).quotable(), Some(text));
        }
    }
}
