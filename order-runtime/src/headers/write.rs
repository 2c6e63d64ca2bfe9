//! Writes headers of other frameworks in addition to ours, so that their tools understand our dead letters.

use super::formats::{HeaderFormat, Numbers, Written};
use crate::model::{HeaderBlock, PartitionId};

/// The failure that the headers of another format describe.
pub(crate) struct FailedRecord<'a> {
    pub(crate) partition: &'a PartitionId,
    pub(crate) offset: i64,
    /// In milliseconds of the Unix epoch.
    pub(crate) timestamp: Option<i64>,
    pub(crate) group: &'a str,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    pub(crate) processor: &'a str,
}

/// Adds the headers of a failure in a format that can be [written](HeaderFormat::additional). The error code takes the place of the
/// Java exception class.
pub(crate) fn add(format: HeaderFormat, failed: &FailedRecord<'_>, headers: &mut HeaderBlock) {
    let names = format.entry();
    let Some(Written { numbers, group, processor, timestamp, constant }) = &names.written else { return };
    let PartitionId { topic, partition, .. } = failed.partition;
    headers.push_text(names.topic, topic);
    match numbers {
        Numbers::Text => {
            headers.push_number(names.partition, *partition);
            headers.push_number(names.offset, failed.offset);
        }
        Numbers::BigEndian => {
            headers.push(names.partition, Some(&partition.to_be_bytes()));
            headers.push(names.offset, Some(&failed.offset.to_be_bytes()));
        }
    }
    headers.push_text(group, failed.group);
    if let Some((name, value)) = constant {
        headers.push_text(name, value);
    }
    if let Some(processor) = processor {
        headers.push_text(processor, failed.processor);
    }
    headers.push_text(names.error_code, failed.code);
    headers.push_text(names.error_message, failed.message);
    if let (Some((name, (kind, value))), Some(timestamp)) = (timestamp, failed.timestamp) {
        match numbers {
            Numbers::Text => headers.push_number(name, timestamp),
            Numbers::BigEndian => headers.push(name, Some(&timestamp.to_be_bytes())),
        }
        headers.push_text(kind, value);
    }
}
