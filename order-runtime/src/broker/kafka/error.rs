//! Errors of creating a Kafka client, and of its requests to the broker.

use rdkafka::error::KafkaError;

use crate::config::KafkaConfig;

/// Why a Kafka client cannot be created, or why its request has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// librdkafka rejects a property. Its value may be a secret and is not shown.
    #[error(
        "librdkafka rejects the value of `{property}`; see its CONFIGURATION.md, and `config` for the place where it is set"
    )]
    Property {
        /// The property's own name.
        property: String,
    },
    /// The client cannot be created, although each property is valid by itself.
    #[error("the Kafka client cannot be created: {0}")]
    Client(String),
    /// No broker answers.
    #[error("no broker answers at {brokers}: {reason}; check KAFKA_BROKER_URL, and whether the broker runs")]
    Unreachable {
        /// The addresses that were tried.
        brokers: String,
        /// The client's error text.
        reason: String,
    },
    /// A broker answers, but advertises an address that cannot be reached.
    #[error("{brokers}: {unreached}")]
    Advertised {
        /// The addresses that were tried.
        brokers: String,
        /// The advertised address, and a remedy.
        unreached: String,
    },
    /// The broker rejects the credentials.
    #[error(
        "the broker at {brokers} rejects the credentials; correct KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
    )]
    Refused {
        /// The addresses that were tried.
        brokers: String,
    },
    /// The topic does not exist.
    #[error("the topic `{0}` does not exist; create it, or correct the name")]
    UnknownTopic(String),
    /// A request failed.
    #[error("the broker does not report {what}: {reason}")]
    Request {
        /// The requested data.
        what: &'static str,
        /// The client's error text.
        reason: String,
    },
}

impl BrokerError {
    /// The error of a client that could not be created, without the values of properties, which librdkafka repeats.
    pub(super) fn creation(error: &KafkaError, config: &KafkaConfig) -> Self {
        match error {
            KafkaError::ClientConfig(_, _, property, _) => Self::Property { property: property.clone() },
            KafkaError::ClientCreation(text) => Self::Client(redact(text, config)),
            other => Self::Client(redact(&other.to_string(), config)),
        }
    }

    pub(super) fn unreachable(config: &KafkaConfig, reason: impl ToString) -> Self {
        Self::Unreachable { brokers: config.brokers.clone(), reason: reason.to_string() }
    }

    pub(super) fn request(what: &'static str, reason: impl ToString) -> Self {
        Self::Request { what, reason: reason.to_string() }
    }
}

/// Removes secret values of properties from a text. Short values stay: they are switches and numbers, and occur in any text.
fn redact(text: &str, config: &KafkaConfig) -> String {
    let maps = [&config.properties, &config.consumer_properties, &config.producer_properties];
    let mut text = text.to_owned();
    for (name, value) in maps.into_iter().flatten() {
        let secret = ["password", "secret", "pem", "oauthbearer"].iter().any(|part| name.contains(part));
        if secret && value.expose().len() >= 4 {
            text = text.replace(value.expose(), "***");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Secret};

    #[test]
    fn no_error_repeats_a_secret() {
        let mut config = Config::default().kafka;
        config.properties.insert("sasl.password".to_owned(), Secret::new("hunter22"));
        let refused = rdkafka::ClientConfig::new().set("sasl.passwordd", "hunter22").create_native_config();
        let error = BrokerError::creation(&refused.err().expect("there is no such property"), &config);
        assert_eq!(error, BrokerError::Property { property: "sasl.passwordd".to_owned() });
        let text = BrokerError::creation(&KafkaError::ClientCreation("bad hunter22".to_owned()), &config).to_string();
        assert!(!text.contains("hunter22"), "{text}");
    }
}
