//! Writes headers of other frameworks in addition to ours, so that their tools understand our dead letters.

use crate::model::{Dialect, HeaderBlock, PartitionId};

/// The failure that the headers of a dialect describe.
pub(crate) struct FailedRecord<'a> {
    pub(crate) partition: &'a PartitionId,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) group: &'a str,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    pub(crate) processor: &'a str,
}

/// Adds the headers of a failure in a dialect. The error code takes the place of the Java exception class.
pub(crate) fn add(dialect: Dialect, failed: &FailedRecord<'_>, headers: &mut HeaderBlock) {
    let PartitionId { topic, partition, .. } = failed.partition;
    let mut add = |name: &str, value: &[u8]| headers.push(name, Some(value));
    match dialect {
        Dialect::Spring => {
            add("kafka_dlt-original-topic", topic.as_bytes());
            add("kafka_dlt-original-partition", &partition.to_be_bytes());
            add("kafka_dlt-original-offset", &failed.offset.to_be_bytes());
            add("kafka_dlt-original-consumer-group", failed.group.as_bytes());
            add("kafka_dlt-exception-fqcn", failed.code.as_bytes());
            add("kafka_dlt-exception-message", failed.message.as_bytes());
            if let Some(timestamp) = failed.timestamp {
                add("kafka_dlt-original-timestamp", &timestamp.to_be_bytes());
                add("kafka_dlt-original-timestamp-type", b"CreateTime");
            }
        }
        Dialect::Connect => {
            add("__connect.errors.topic", topic.as_bytes());
            add("__connect.errors.partition", partition.to_string().as_bytes());
            add("__connect.errors.offset", failed.offset.to_string().as_bytes());
            add("__connect.errors.connector.name", failed.group.as_bytes());
            add("__connect.errors.stage", b"TASK_PUT");
            add("__connect.errors.class.name", failed.processor.as_bytes());
            add("__connect.errors.exception.class.name", failed.code.as_bytes());
            add("__connect.errors.exception.message", failed.message.as_bytes());
        }
    }
}
