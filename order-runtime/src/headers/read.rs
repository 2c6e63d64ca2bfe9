//! Reads the headers of dead letters, in the formats of this service and of other frameworks.

use super::formats::{Entry, FORMATS, HeaderFormat};
use crate::model::RecordRef;

/// The failure that the headers of a dead letter describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedFailure {
    pub(crate) format: HeaderFormat,
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i32>,
    pub(crate) offset: Option<i64>,
    pub(crate) error_code: String,
    pub(crate) error_message: String,
}

/// Reads the headers in the first format that the record has; `None` if it is not a dead letter of a known format.
pub(crate) fn read(record: &RecordRef<'_>) -> Option<DescribedFailure> {
    let names = FORMATS.iter().find(|names| is_written_by(names, record))?;
    let text = |name: &str| String::from_utf8_lossy(record.header(name).unwrap_or_default()).into_owned();
    let number = |name: &str| first(record, name).and_then(number);
    // Older versions of Wolverine write the event's address to `destination` instead of `original-destination`.
    let place = first(record, names.topic)
        .or_else(|| first(record, "destination").filter(|_| names.format == HeaderFormat::Wolverine));
    let topic = place.and_then(|topic| std::str::from_utf8(topic).ok());
    Some(DescribedFailure {
        format: names.format,
        topic: topic
            .map(|topic| if names.format == HeaderFormat::Wolverine { last_segment(topic) } else { topic.to_owned() }),
        partition: number(names.partition).and_then(|number| i32::try_from(number).ok()),
        offset: number(names.offset),
        error_code: text(names.error_code),
        error_message: text(names.error_message),
    })
}

fn is_written_by(names: &Entry, record: &RecordRef<'_>) -> bool {
    match names.format {
        HeaderFormat::Dlq => record.header("dlq-id").is_some(),
        _ => record.header(names.error_code).is_some() || record.header(names.topic).is_some(),
    }
}

/// Whether a header describes a failure, in that format or in ours. A replay leaves such headers out.
pub(crate) fn describes_failure(format: HeaderFormat, name: &[u8]) -> bool {
    format.owns(name) || HeaderFormat::Dlq.owns(name)
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
        model::{HeaderBlock, PartitionId, RecordBatch},
    };

    fn read_of(headers: &[(&str, &[u8])]) -> Option<DescribedFailure> {
        let mut batch = RecordBatch::default();
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(*value)));
        batch.push(1, None, None, None, headers);
        read(&batch.get(0).expect("one record"))
    }

    #[test]
    fn letters_of_each_format_are_read() {
        type Case<'a> = (HeaderFormat, &'a [(&'a str, &'a [u8])]);
        let cases: [Case<'_>; 6] = [
            (
                HeaderFormat::Spring,
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
                HeaderFormat::Connect,
                &[
                    ("__connect.errors.topic", b"things"),
                    ("__connect.errors.partition", b"3"),
                    ("__connect.errors.offset", b"42"),
                    ("__connect.errors.exception.class.name", b"java.lang.Boom"),
                    ("__connect.errors.exception.message", b"it failed"),
                ],
            ),
            (
                HeaderFormat::Streams,
                &[
                    ("__streams.errors.exception", b"java.lang.Boom"),
                    ("__streams.errors.message", b"it failed"),
                    ("__streams.errors.topic", b"things"),
                    ("__streams.errors.partition", b"3"),
                    ("__streams.errors.offset", b"42"),
                ],
            ),
            (
                HeaderFormat::Smallrye,
                &[
                    ("dead-letter-exception-class-name", b"java.lang.Boom"),
                    ("dead-letter-reason", b"it failed"),
                    ("dead-letter-topic", b"things"),
                    ("dead-letter-partition", b"3"),
                    ("dead-letter-offset", b"42"),
                ],
            ),
            (
                HeaderFormat::Wolverine,
                &[
                    ("exception-type", b"java.lang.Boom"),
                    ("exception-message", b"it failed"),
                    ("failed-at", b"1700000000000"),
                    ("destination", b"kafka://topic/things"),
                ],
            ),
            (
                HeaderFormat::Wolverine,
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
        for (format, headers) in cases {
            let reported = read_of(headers).expect("a dead letter");
            assert_eq!(reported.format, format);
            assert_eq!(reported.topic.as_deref(), Some("things"), "{format:?}");
            assert_eq!(
                (reported.error_code.as_str(), reported.error_message.as_str()),
                ("java.lang.Boom", "it failed")
            );
            let place = (reported.partition, reported.offset);
            let is_older = headers.iter().any(|(name, _)| *name == "failed-at") && headers.len() == 4;
            let known = if is_older { (None, None) } else { (Some(3), Some(42)) };
            assert_eq!(place, known, "{format:?}");
        }
        assert_eq!(read_of(&[("trace", b"1"), ("exception", b"x"), ("destination", b"kafka://topic/things")]), None);
    }

    #[test]
    fn headers_that_describe_a_failure_are_left_out_of_a_replay() {
        for name in ["exception-type", "failed-at", "original-destination", "original-partition", "original-offset"] {
            assert!(describes_failure(HeaderFormat::Wolverine, name.as_bytes()), "{name}");
        }
        assert!(!describes_failure(HeaderFormat::Wolverine, b"original-price"), "it belongs to the event");
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
    fn headers_written_in_a_format_are_read_in_that_format() {
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
        for format in HeaderFormat::additional() {
            let mut headers = HeaderBlock::default();
            headers::add(format, &failed, &mut headers);
            assert!(headers.iter().all(|(name, _)| format.owns(name)));
            let mut batch = RecordBatch::default();
            batch.push(1, None, None, None, &headers);
            let reported = read(&batch.get(0).expect("one record")).expect("a dead letter");
            assert_eq!((reported.format, reported.partition, reported.offset), (format, Some(3), Some(42)));
            assert_eq!((reported.error_code.as_str(), reported.topic.as_deref()), ("not_allowed", Some("things")));
        }
    }
}
