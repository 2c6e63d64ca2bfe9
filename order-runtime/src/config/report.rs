//! Reports about settings: problems, warnings, and values with their origins. None of them contains a secret.

use std::{fmt, fmt::Write as _};

use super::{
    settings::{self, DefaultValue, Setting},
    source::Origin,
};

/// All problems of the configuration; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<SettingProblem>);

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
pub enum SettingProblem {
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
pub struct Warning {
    /// The variable.
    pub name: String,
    /// The message.
    pub text: String,
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
pub struct SettingInForce {
    /// The variable.
    pub name: String,
    /// Its value, `***` for a secret; `None` if it has none.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// The text of `.env.example`: every setting with its default.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of the service. Copy this file to `.env` and remove the `# ` before the lines that you set.\n\
         # The environment overrides this file, and flags override both; the command `config` shows the effective values.\n",
    );
    for (section, settings) in settings::SECTIONS {
        let _ = write!(text, "\n# == {section} ==\n");
        for setting in *settings {
            write_example(&mut text, setting);
        }
        if *section == "Kafka" {
            text.push_str(KAFKA_PROPERTIES);
        }
    }
    text
}

const KAFKA_PROPERTIES: &str = "
# Any property of librdkafka is KAFKA_ and its name in upper case with _ for each dot; KAFKA_CONSUMER_ and KAFKA_PRODUCER_
# set it for one side. With _FILE after the name, the value is read from a file, as is best for secrets. TLS and SCRAM
# need a build with `--features tls`.
# KAFKA_SECURITY_PROTOCOL=SASL_SSL
# KAFKA_SASL_MECHANISM=SCRAM-SHA-512
# KAFKA_SASL_USERNAME=
# KAFKA_SASL_PASSWORD_FILE=/run/secrets/kafka-password
# KAFKA_SSL_CA_LOCATION=
";

fn write_example(text: &mut String, setting: &Setting) {
    let _ = write!(text, "\n# {}", setting.help);
    if let Some(alias) = setting.alias {
        let _ = write!(text, " {alias} is an alias.");
    }
    if setting.from_file {
        let _ = write!(text, " {}_FILE names a file to read it from.", setting.name);
    }
    let (default, value) = match setting.default {
        DefaultValue::Text(value) => (String::new(), value),
        DefaultValue::Derived(words) => (format!(" Default: {words}."), ""),
        DefaultValue::None => (String::new(), ""),
    };
    let quoted = if value.contains(['"', ' ']) { format!("'{value}'") } else { value.to_owned() };
    let _ = write!(text, "{default}\n# {}={quoted}\n", setting.name);
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
    fn env_example_in_the_repository_is_the_generated_one() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.env.example");
        if std::env::var_os("UPDATE_ENV_EXAMPLE").is_some() {
            std::fs::write(&path, env_example()).expect("the repository can be written");
        }
        let committed = std::fs::read_to_string(&path).expect(".env.example is in the repository");
        assert_eq!(committed, env_example(), "run this test with UPDATE_ENV_EXAMPLE=1 and commit the file");
    }

    #[test]
    fn shown_values_are_harmless() {
        assert_eq!(printable("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(printable(r#"["a"]"#), r#"["a"]"#);
        assert_eq!(printable(&"x".repeat(1000)).chars().count(), 257);
    }
}
