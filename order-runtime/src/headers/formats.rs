//! The table of formats: a new one is a variant of [`HeaderFormat`] and an entry of [`FORMATS`].
//!
//! | format | written by | headers |
//! |---|---|---|
//! | `dlq` | this service | `dlq-*`, text |
//! | `spring` | Spring Kafka's `DeadLetterPublishingRecoverer` | `kafka_dlt-*`; numbers are big-endian |
//! | `connect` | Kafka Connect (KIP-298) | `__connect.errors.*`, text |
//! | `streams` | Kafka Streams (KIP-1034) | `__streams.errors.*`, text |
//! | `smallrye` | `SmallRye` Reactive Messaging, Quarkus | `dead-letter-*`, text |
//! | `wolverine` | Wolverine | `exception-*`, `failed-at`, `original-*`, text; older versions have the topic in `destination` |

use serde::Serialize;

/// A format of dead-letter headers, by the framework that writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HeaderFormat {
    /// This service.
    Dlq,
    /// Spring Kafka.
    Spring,
    /// Kafka Connect.
    Connect,
    /// Kafka Streams.
    Streams,
    /// `SmallRye` Reactive Messaging.
    Smallrye,
    /// Wolverine.
    Wolverine,
}

/// One format.
pub(super) struct Entry {
    pub(super) format: HeaderFormat,
    /// The format's name for users.
    pub(super) name: &'static str,
    /// Every header of the format begins with one of these.
    pub(super) prefixes: &'static [&'static str],
    pub(super) topic: &'static str,
    pub(super) partition: &'static str,
    pub(super) offset: &'static str,
    pub(super) error_code: &'static str,
    pub(super) error_message: &'static str,
    /// How the service writes the format beside its own; `None` if it only reads it.
    pub(super) written: Option<Written>,
}

/// The parts of a format that are only written.
pub(super) struct Written {
    pub(super) numbers: Numbers,
    pub(super) group: &'static str,
    pub(super) processor: Option<&'static str>,
    /// The record's timestamp, and a header that is written with it.
    pub(super) timestamp: Option<(&'static str, (&'static str, &'static str))>,
    pub(super) constant: Option<(&'static str, &'static str)>,
}

/// The encoding of numbers in headers that are written. Both are read in every format.
#[derive(Clone, Copy)]
pub(super) enum Numbers {
    Text,
    BigEndian,
}

pub(super) const FORMATS: [Entry; 6] = [
    Entry {
        format: HeaderFormat::Dlq,
        name: "dlq",
        prefixes: &["dlq-"],
        topic: "dlq-topic",
        partition: "dlq-partition",
        offset: "dlq-offset",
        error_code: "dlq-error-code",
        error_message: "dlq-error-message",
        written: None,
    },
    Entry {
        format: HeaderFormat::Spring,
        name: "spring",
        prefixes: &["kafka_dlt-"],
        topic: "kafka_dlt-original-topic",
        partition: "kafka_dlt-original-partition",
        offset: "kafka_dlt-original-offset",
        error_code: "kafka_dlt-exception-fqcn",
        error_message: "kafka_dlt-exception-message",
        written: Some(Written {
            numbers: Numbers::BigEndian,
            group: "kafka_dlt-original-consumer-group",
            processor: None,
            timestamp: Some(("kafka_dlt-original-timestamp", ("kafka_dlt-original-timestamp-type", "CreateTime"))),
            constant: None,
        }),
    },
    Entry {
        format: HeaderFormat::Connect,
        name: "connect",
        prefixes: &["__connect.errors."],
        topic: "__connect.errors.topic",
        partition: "__connect.errors.partition",
        offset: "__connect.errors.offset",
        error_code: "__connect.errors.exception.class.name",
        error_message: "__connect.errors.exception.message",
        written: Some(Written {
            numbers: Numbers::Text,
            group: "__connect.errors.connector.name",
            processor: Some("__connect.errors.class.name"),
            timestamp: None,
            constant: Some(("__connect.errors.stage", "TASK_PUT")),
        }),
    },
    Entry {
        format: HeaderFormat::Streams,
        name: "streams",
        prefixes: &["__streams.errors."],
        topic: "__streams.errors.topic",
        partition: "__streams.errors.partition",
        offset: "__streams.errors.offset",
        error_code: "__streams.errors.exception",
        error_message: "__streams.errors.message",
        written: None,
    },
    Entry {
        format: HeaderFormat::Smallrye,
        name: "smallrye",
        prefixes: &["dead-letter-"],
        topic: "dead-letter-topic",
        partition: "dead-letter-partition",
        offset: "dead-letter-offset",
        error_code: "dead-letter-exception-class-name",
        error_message: "dead-letter-reason",
        written: None,
    },
    Entry {
        format: HeaderFormat::Wolverine,
        name: "wolverine",
        prefixes: &[
            "exception-type",
            "exception-message",
            "exception-stack",
            "failed-at",
            "original-destination",
            "original-partition",
            "original-offset",
        ],
        topic: "original-destination",
        partition: "original-partition",
        offset: "original-offset",
        error_code: "exception-type",
        error_message: "exception-message",
        written: None,
    },
];

impl HeaderFormat {
    /// The formats that the service can write beside its own.
    pub(crate) fn additional() -> impl Iterator<Item = Self> {
        FORMATS.iter().filter(|entry| entry.written.is_some()).map(|entry| entry.format)
    }

    /// Its name for users, for example in `KAFKA_DLQ_HEADERS`.
    pub(crate) fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// Whether a header of this name belongs to the format.
    pub(crate) fn owns(self, name: &[u8]) -> bool {
        self.entry().prefixes.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
    }

    pub(super) fn entry(self) -> &'static Entry {
        // The table is in the order of the variants, which a test holds.
        &FORMATS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for (index, entry) in FORMATS.iter().enumerate() {
            assert_eq!(entry.format as usize, index);
            assert_eq!(serde_json::json!(entry.format), entry.name);
            for name in [entry.topic, entry.partition, entry.offset, entry.error_code, entry.error_message] {
                assert!(entry.format.owns(name.as_bytes()), "{name}");
            }
        }
    }
}
