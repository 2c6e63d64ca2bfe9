//! Generates `.env.example` from the table of settings. A test holds that the file in the repository is the generated one.

use std::fmt::Write as _;

use super::settings::{self, DefaultValue, Setting};

/// The text of `.env.example`: every setting with its default.
pub(super) fn env_example() -> String {
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

#[test]
fn env_example_in_the_repository_is_the_generated_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.env.example");
    if std::env::var_os("UPDATE_ENV_EXAMPLE").is_some() {
        std::fs::write(&path, env_example()).expect("the repository can be written");
    }
    let committed = std::fs::read_to_string(&path).expect(".env.example is in the repository");
    assert_eq!(committed, env_example(), "run this test with UPDATE_ENV_EXAMPLE=1 and commit the file");
}
