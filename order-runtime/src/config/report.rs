//! Reports about settings: problems, warnings, and values with their origins. None of them contains a secret.

use std::fmt;

use super::source::Origin;

/// All problems of the configuration; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigErrors(pub(crate) Vec<SettingProblem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One problem of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingProblem {
    /// A value is not valid for its variable.
    Wrong {
        /// The variable.
        name: String,
        /// The value; `None` for a secret.
        value: Option<String>,
        /// Where it comes from.
        origin: Origin,
        /// The expected form.
        expected: String,
    },
    /// Valid values contradict each other, or a source cannot be read.
    Contradiction(String),
}

impl SettingProblem {
    pub(super) fn wrong(name: &str, value: Option<&str>, origin: &Origin, expected: impl Into<String>) -> Self {
        let value = value.map(printable);
        Self::Wrong { name: name.to_owned(), value, origin: origin.clone(), expected: expected.into() }
    }

    pub(super) fn contradiction(text: impl Into<String>) -> Self {
        Self::Contradiction(text.into())
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { name, value: Some(value), origin, expected } => {
                write!(f, "{name}: `{value}` ({origin}) is not valid; expected {expected}")
            }
            Self::Wrong { name, value: None, origin, expected } => {
                write!(f, "{name}: the value ({origin}) is not valid; expected {expected}")
            }
            Self::Contradiction(text) => f.write_str(text),
        }
    }
}

/// A warning about a configuration that works, but is probably not intended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The variable.
    pub(crate) name: String,
    /// The message.
    pub(crate) text: String,
}

impl Warning {
    pub(super) fn new(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.to_owned(), text: text.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

/// A setting with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SettingInForce {
    /// The variable.
    pub(crate) name: String,
    /// Its value, `***` for a secret; `None` if it has none.
    pub(crate) value: Option<String>,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// A value made fit for display: control characters are escaped, and the length is limited. The caller decides whether the value
/// may be shown at all.
pub(super) fn printable(value: &str) -> String {
    const MOST: usize = 256;
    let mut shown: String =
        value.chars().take(MOST).flat_map(char::escape_debug).collect::<String>().replace("\\\"", "\"");
    if value.chars().count() > MOST {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_values_are_harmless() {
        assert_eq!(printable("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(printable(r#"["a"]"#), r#"["a"]"#);
        assert_eq!(printable(&"x".repeat(1000)).chars().count(), 257);
    }
}
