//! Reads the present records of a topic, or ranges of it, outside of any group.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    ffi,
    metadata::{MetadataClient, Quiet},
    settings,
};
use crate::{broker::BrokerError, config::KafkaConfig, model::RecordBatch};

/// If nothing arrives for this long, the brokers count as unavailable.
const SILENCE: Duration = Duration::from_secs(30);

/// A pass over a topic.
pub struct TopicReader {
    consumer: BaseConsumer<Quiet>,
    /// The end offset of each partition that is not read completely.
    ends: HashMap<i32, i64>,
    records: u64,
    /// Whether further records are wanted.
    wanted: Box<dyn Fn() -> bool + Send>,
}

impl TopicReader {
    /// Begins to read all partitions of `topic`, up to their present ends.
    ///
    /// # Errors
    /// When no broker answers, or there is no such topic.
    pub fn open(config: &KafkaConfig, topic: &str) -> Result<Self, BrokerError> {
        Self::open_ranges(config, topic, Self::log(config, topic)?)
    }

    /// The partitions of `topic`, each with its first offset and the offset after its last record.
    ///
    /// # Errors
    /// When no broker answers, or there is no such topic.
    pub fn log(config: &KafkaConfig, topic: &str) -> Result<Vec<(i32, i64, i64)>, BrokerError> {
        let metadata = MetadataClient::new(config)?;
        let count = metadata.partitions(topic)?.ok_or_else(|| BrokerError::UnknownTopic(topic.to_owned()))?;
        let log = |partition| metadata.log(topic, partition).map(|(start, end)| (partition, start, end));
        (0..i32::try_from(count).unwrap_or(i32::MAX)).map(log).collect()
    }

    /// Begins to read partitions of `topic`, each from a first offset up to, but without, an end offset.
    ///
    /// # Errors
    /// When librdkafka rejects the properties.
    pub fn open_ranges(
        config: &KafkaConfig,
        topic: &str,
        ranges: impl IntoIterator<Item = (i32, i64, i64)>,
    ) -> Result<Self, BrokerError> {
        let consumer: BaseConsumer<Quiet> = settings::reader(config)
            .create_with_context(Quiet::default())
            .map_err(|error| BrokerError::creation(&error, config))?;
        let mut reader = Self { consumer, ends: HashMap::new(), records: 0, wanted: Box::new(|| true) };
        reader.go_on_with(topic, ranges)?;
        Ok(reader)
    }

    /// Abandons unread records, and begins to read other ranges.
    ///
    /// # Errors
    /// When librdkafka rejects the ranges.
    pub fn go_on_with(
        &mut self,
        topic: &str,
        ranges: impl IntoIterator<Item = (i32, i64, i64)>,
    ) -> Result<(), BrokerError> {
        let mut list = TopicPartitionList::new();
        (self.ends, self.records) = (HashMap::new(), 0);
        for (partition, start, end) in ranges {
            if start < end {
                self.ends.insert(partition, end);
                self.records += start.abs_diff(end);
                list.add_partition_offset(topic, partition, Offset::Offset(start))
                    .map_err(|error| BrokerError::request("a range of records", error))?;
            }
        }
        self.consumer.assign(&list).map_err(|error| BrokerError::request("a range of records", error))
    }

    /// Ends the reading as soon as `wanted` returns false, even while nothing arrives.
    #[must_use]
    pub fn while_wanted(self, wanted: impl Fn() -> bool + Send + 'static) -> Self {
        Self { wanted: Box::new(wanted), ..self }
    }

    /// The number of offsets in the ranges. This is an upper bound on the records: transactions and compaction leave fewer.
    pub fn at_most(&self) -> u64 {
        self.records
    }

    /// The next record with its partition, in a batch of one; `None` after the last record, or when no more are wanted.
    ///
    /// # Errors
    /// When nothing arrives for 30 seconds, or the brokers deny access.
    pub fn next_record(&mut self) -> Result<Option<(i32, RecordBatch)>, BrokerError> {
        let deadline = Instant::now() + SILENCE;
        while !self.ends.is_empty() && (self.wanted)() {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let Some(end) = self.ends.get(&partition).copied() else { continue };
                    if message.offset() + 1 >= end {
                        self.ends.remove(&partition);
                    }
                    if message.offset() >= end {
                        continue;
                    }
                    let mut batch = RecordBatch::default();
                    let headers = ffi::MessageHeaders::of(&message);
                    let timestamp = message.timestamp().to_millis();
                    batch.push(message.offset(), timestamp, message.key(), message.payload(), headers);
                    return Ok(Some((partition, batch)));
                }
                // The last offsets before the end were markers or compacted away.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ends.remove(&partition);
                }
                Some(Err(KafkaError::MessageConsumption(
                    code @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed),
                ))) => return Err(BrokerError::request("a range of records", code)),
                Some(Err(_)) | None if Instant::now() > deadline => {
                    return Err(BrokerError::request("a range of records", "nothing has arrived for 30 s"));
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader").field("unfinished", &self.ends.len()).finish_non_exhaustive()
    }
}
