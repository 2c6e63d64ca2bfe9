//! Reads the headers of dead letters, in the formats of this service and of other frameworks.
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

use crate::model::RecordRef;

/// The header format of a dead letter, by its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Family {
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

/// The names of a format's headers.
struct Names {
    family: Family,
    /// Every header of the format begins with one of these.
    prefixes: &'static [&'static str],
    topic: &'static str,
    partition: &'static str,
    offset: &'static str,
    error_code: &'static str,
    error_message: &'static str,
}

const FAMILIES: [Names; 6] = [
    Names {
        family: Family::Dlq,
        prefixes: &["dlq-"],
        topic: "dlq-topic",
        partition: "dlq-partition",
        offset: "dlq-offset",
        error_code: "dlq-error-code",
        error_message: "dlq-error-message",
    },
    Names {
        family: Family::Spring,
        prefixes: &["kafka_dlt-"],
        topic: "kafka_dlt-original-topic",
        partition: "kafka_dlt-original-partition",
        offset: "kafka_dlt-original-offset",
        error_code: "kafka_dlt-exception-fqcn",
        error_message: "kafka_dlt-exception-message",
    },
    Names {
        family: Family::Connect,
        prefixes: &["__connect.errors."],
        topic: "__connect.errors.topic",
        partition: "__connect.errors.partition",
        offset: "__connect.errors.offset",
        error_code: "__connect.errors.exception.class.name",
        error_message: "__connect.errors.exception.message",
    },
    Names {
        family: Family::Streams,
        prefixes: &["__streams.errors."],
        topic: "__streams.errors.topic",
        partition: "__streams.errors.partition",
        offset: "__streams.errors.offset",
        error_code: "__streams.errors.exception",
        error_message: "__streams.errors.message",
    },
    Names {
        family: Family::Smallrye,
        prefixes: &["dead-letter-"],
        topic: "dead-letter-topic",
        partition: "dead-letter-partition",
        offset: "dead-letter-offset",
        error_code: "dead-letter-exception-class-name",
        error_message: "dead-letter-reason",
    },
    Names {
        family: Family::Wolverine,
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
    },
];

/// The failure that the headers of a dead letter describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedFailure {
    pub(crate) family: Family,
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
    pub(crate) error_code: String,
    pub(crate) error_message: String,
}

/// Reads the headers in the first format that the record has; `None` if it is not a dead letter of a known format.
pub(crate) fn read(record: &RecordRef<'_>) -> Option<DescribedFailure> {
    let names = FAMILIES.iter().find(|names| is_written_by(names, record))?;
    let text = |name: &str| String::from_utf8_lossy(record.header(name).unwrap_or_default()).into_owned();
    let number = |name: &str| first(record, name).and_then(number);
    // Older versions of Wolverine write the event's address to `destination` instead of `original-destination`.
    let place = first(record, names.topic)
        .or_else(|| first(record, "destination").filter(|_| names.family == Family::Wolverine));
    let topic = place.and_then(|topic| std::str::from_utf8(topic).ok());
    Some(DescribedFailure {
        family: names.family,
        topic: topic
            .map(|topic| if names.family == Family::Wolverine { last_segment(topic) } else { topic.to_owned() }),
        partition: number(names.partition).and_then(|number| i32::try_from(number).ok()),
        offset: number(names.offset),
        error_code: text(names.error_code),
        error_message: text(names.error_message),
    })
}

fn is_written_by(names: &Names, record: &RecordRef<'_>) -> bool {
    match names.family {
        Family::Dlq => record.header("dlq-id").is_some(),
        _ => record.header(names.error_code).is_some() || record.header(names.topic).is_some(),
    }
}

/// Whether a header describes a failure, in that format or in ours. A replay leaves such headers out.
pub(crate) fn is_of_a_family(family: Family, name: &[u8]) -> bool {
    let names = FAMILIES.iter().filter(|names| names.family == family || names.family == Family::Dlq);
    names.flat_map(|names| names.prefixes).any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// The first header of a name. Frameworks that forward a dead letter append their headers after the original ones.
fn first<'a>(record: &RecordRef<'a>, name: &str) -> Option<&'a [u8]> {
    record.headers().find(|(known, _)| *known == name.as_bytes()).and_then(|(_, value)| value)
}

/// A number in digits, or in four or eight big-endian bytes. Digits are tried first: read as bytes, four digits would be more
/// than 800 million and eight more than 3 * 10^18, which no partition or offset reaches.
fn number(value: &[u8]) -> Option<i64> {
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    let number = match value.len() {
        4 => i64::from(i32::from_be_bytes(value.try_into().ok()?)),
        8 => i64::from_be_bytes(value.try_into().ok()?),
        _ => return None,
    };
    (number >= 0).then_some(number)
}

/// The topic of an address such as `kafka://topic/things`.
fn last_segment(address: &str) -> String {
    address.rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::{
        headers,
        model::{Dialect, HeaderBlock, PartitionId, RecordBatch},
    };

    fn read_of(headers: &[(&str, &[u8])]) -> Option<DescribedFailure> {
        let mut batch = RecordBatch::default();
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(*value)));
        batch.push(1, None, None, None, headers);
        read(&batch.get(0).expect("one record"))
    }

    #[test]
    fn letters_of_each_format_are_read() {
        type Case<'a> = (Family, &'a [(&'a str, &'a [u8])]);
        let cases: [Case<'_>; 6] = [
            (
                Family::Spring,
                &[
                    ("kafka_dlt-original-topic", b"things"),
                    ("kafka_dlt-original-partition", &[0, 0, 0, 3]),
                    ("kafka_dlt-original-offset", &[0, 0, 0, 0, 0, 0, 0, 42]),
                    ("kafka_dlt-exception-fqcn", b"java.lang.Boom"),
                    ("kafka_dlt-exception-message", b"it failed"),
                    ("kafka_dlt-original-topic", b"things-retry-0"),
                ],
            ),
            (
                Family::Connect,
                &[
                    ("__connect.errors.topic", b"things"),
                    ("__connect.errors.partition", b"3"),
                    ("__connect.errors.offset", b"42"),
                    ("__connect.errors.exception.class.name", b"java.lang.Boom"),
                    ("__connect.errors.exception.message", b"it failed"),
                ],
            ),
            (
                Family::Streams,
                &[
                    ("__streams.errors.exception", b"java.lang.Boom"),
                    ("__streams.errors.message", b"it failed"),
                    ("__streams.errors.topic", b"things"),
                    ("__streams.errors.partition", b"3"),
                    ("__streams.errors.offset", b"42"),
                ],
            ),
            (
                Family::Smallrye,
                &[
                    ("dead-letter-exception-class-name", b"java.lang.Boom"),
                    ("dead-letter-reason", b"it failed"),
                    ("dead-letter-topic", b"things"),
                    ("dead-letter-partition", b"3"),
                    ("dead-letter-offset", b"42"),
                ],
            ),
            (
                Family::Wolverine,
                &[
                    ("exception-type", b"java.lang.Boom"),
                    ("exception-message", b"it failed"),
                    ("failed-at", b"1700000000000"),
                    ("destination", b"kafka://topic/things"),
                ],
            ),
            (
                Family::Wolverine,
                &[
                    ("exception-type", b"java.lang.Boom"),
                    ("exception-message", b"it failed"),
                    ("exception-stack", b"at Boom"),
                    ("failed-at", b"1700000000000"),
                    ("original-destination", b"kafka://topic/things"),
                    ("original-partition", b"3"),
                    ("original-offset", b"42"),
                    // The address of the dead letter itself.
                    ("destination", b"kafka://topic/wolverine-dead-letter-queue"),
                ],
            ),
        ];
        for (family, headers) in cases {
            let reported = read_of(headers).expect("a dead letter");
            assert_eq!(reported.family, family);
            assert_eq!(reported.topic.as_deref(), Some("things"), "{family:?}");
            assert_eq!(
                (reported.error_code.as_str(), reported.error_message.as_str()),
                ("java.lang.Boom", "it failed")
            );
            let place = (reported.partition, reported.offset);
            let is_older = headers.iter().any(|(name, _)| *name == "failed-at") && headers.len() == 4;
            let known = if is_older { (None, None) } else { (Some(3), Some(42)) };
            assert_eq!(place, known, "{family:?}");
        }
        assert_eq!(read_of(&[("trace", b"1"), ("exception", b"x"), ("destination", b"kafka://topic/things")]), None);
    }

    #[test]
    fn headers_that_describe_a_failure_are_left_out_of_a_replay() {
        for name in ["exception-type", "failed-at", "original-destination", "original-partition", "original-offset"] {
            assert!(is_of_a_family(Family::Wolverine, name.as_bytes()), "{name}");
        }
        assert!(!is_of_a_family(Family::Wolverine, b"original-price"), "it belongs to the event");
    }

    #[test]
    fn numbers_are_bytes_or_digits() {
        for (value, expected) in [
            (&b"1234"[..], Some(1234)),
            (b"12345678", Some(12_345_678)),
            (&[0, 0, 1, 0], Some(256)),
            (&[0xff; 4], None),
            (&[0xff; 8], None),
            (b"", None),
            (b"-1", None),
            (b"12x", None),
            (b"99999999999999999999", None),
        ] {
            assert_eq!(number(value), expected, "{value:?}");
        }
    }

    #[test]
    fn headers_written_in_a_dialect_are_read_in_that_format() {
        let partition =
            PartitionId { cluster: Arc::from("c"), topic_id: Uuid::nil(), topic: Arc::from("things"), partition: 3 };
        let failed = headers::FailedRecord {
            partition: &partition,
            offset: 42,
            timestamp: Some(1),
            group: "group",
            code: "not_allowed",
            message: "it failed",
            processor: "EventProcessor_X",
        };
        for (dialect, family) in [(Dialect::Spring, Family::Spring), (Dialect::Connect, Family::Connect)] {
            let mut headers = HeaderBlock::default();
            headers::add(dialect, &failed, &mut headers);
            assert!(headers.iter().all(|(name, _)| dialect.owns(name)));
            let mut batch = RecordBatch::default();
            batch.push(1, None, None, None, &headers);
            let reported = read(&batch.get(0).expect("one record")).expect("a dead letter");
            assert_eq!((reported.family, reported.partition, reported.offset), (family, Some(3), Some(42)));
            assert_eq!((reported.error_code.as_str(), reported.topic.as_deref()), ("not_allowed", Some("things")));
        }
    }
}
