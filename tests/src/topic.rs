//! Reads and writes the raw records of a topic.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Header, Headers as _, OwnedHeaders},
    metadata::MetadataPartition,
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};

use crate::wait::PATIENCE;

/// The maximum number of unacknowledged records.
const UNDER_WAY: usize = 2_000;
/// The maximum size of unacknowledged records in bytes, because a client's buffer is bounded.
const BYTES_UNDER_WAY: usize = 64 << 20;
const ANSWER: Duration = Duration::from_secs(20);

/// One topic.
#[derive(Debug, Clone)]
pub struct Topic {
    broker: String,
    name: String,
}

/// A record in the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The payload.
    pub payload: Option<Vec<u8>>,
    /// The headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// The text of a header; `None` if there is no such header.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// A record to be written.
#[derive(Debug, Clone, Default)]
pub struct NewRecord {
    /// The partition; `None` selects it by the key.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The payload.
    pub payload: Option<Vec<u8>>,
    /// The headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl NewRecord {
    /// A JSON document under a key.
    pub fn json(key: &str, payload: &serde_json::Value) -> Self {
        Self::bytes(key, payload.to_string())
    }

    /// Any bytes under a key.
    pub fn bytes(key: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), payload: Some(payload.into()), ..Self::default() }
    }

    /// Sets the partition, independent of the key.
    #[must_use]
    pub fn to_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }
}

impl Topic {
    pub(crate) fn new(broker: &str, name: &str) -> Self {
        Self { broker: broker.into(), name: name.into() }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All current records, sorted by partition and offset; none if the topic does not exist.
    pub fn read(&self) -> Vec<Record> {
        let consumer = self.reader("order-tests-reader");
        let partitions = self.partitions(&consumer);
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(&self.name, *partition, Offset::Beginning).expect("the start offset is valid");
        }
        consumer.assign(&list).expect("an assignment");
        let mut records = Vec::new();
        let mut unread = partitions.len();
        let start = Instant::now();
        while unread > 0 {
            assert!(start.elapsed() < PATIENCE, "{} is not read within {PATIENCE:?}", self.name);
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => records.push(record(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => unread -= 1,
                // The client reconnects by itself; if it cannot, the deadline ends the test.
                Some(Err(KafkaError::MessageConsumption(code))) if is_passing(code) => {}
                Some(Err(error)) => panic!("{} cannot be read: {error}", self.name),
                None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Writes the records one after the other; returns their partitions and offsets after the broker's acknowledgement.
    pub async fn produce(&self, records: impl IntoIterator<Item = NewRecord>) -> Vec<(i32, i64)> {
        let producer: FutureProducer = self.client().set("linger.ms", "0").create().expect("a producer");
        let mut places = Vec::new();
        for new in records {
            let sent = producer.send(self.outgoing(&new), Timeout::After(ANSWER)).await;
            let delivery = sent.unwrap_or_else(|(error, _)| panic!("{} refuses a record: {error}", self.name));
            places.push((delivery.partition, delivery.offset));
        }
        places
    }

    /// Writes many records, as fast as the broker accepts them.
    pub async fn produce_all(&self, records: impl IntoIterator<Item = NewRecord>) {
        let producer: FutureProducer = self.client().create().expect("a producer");
        let (mut sent, mut bytes) = (std::collections::VecDeque::new(), 0);
        for new in records {
            let delivery =
                producer.send_result(self.outgoing(&new)).unwrap_or_else(|(error, _)| panic!("not queued: {error}"));
            let size = new.payload.as_ref().map_or(0, Vec::len);
            sent.push_back((delivery, size));
            bytes += size;
            while (sent.len() >= UNDER_WAY || bytes >= BYTES_UNDER_WAY)
                && let Some((delivery, size)) = sent.pop_front()
            {
                let delivery = delivery.await.expect("the producer lives");
                delivery.unwrap_or_else(|(error, _)| panic!("{} refuses a record: {error}", self.name));
                bytes -= size;
            }
        }
        for (delivery, _) in sent {
            let delivery = delivery.await.expect("the producer lives");
            delivery.unwrap_or_else(|(error, _)| panic!("{} refuses a record: {error}", self.name));
        }
    }

    /// Writes records one by one, `rate` per second; a header has each record's production time in microseconds.
    pub async fn produce_paced(&self, records: impl IntoIterator<Item = NewRecord>, rate: u32) {
        let producer: FutureProducer = self.client().set("linger.ms", "0").create().expect("a producer");
        let start = tokio::time::Instant::now();
        let mut sent = Vec::new();
        for (number, record) in (0_u32..).zip(records) {
            tokio::time::sleep_until(start + Duration::from_secs(1) * number / rate).await;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_micros();
            let record = record.with_header("produced-at-us", now.to_string().as_bytes());
            sent.push(producer.send_result(self.outgoing(&record)).unwrap_or_else(|(error, _)| panic!("{error}")));
        }
        for delivery in sent {
            let delivery = delivery.await.expect("the producer lives");
            delivery.unwrap_or_else(|(error, _)| panic!("{} refuses a record: {error}", self.name));
        }
    }

    fn outgoing<'a>(&'a self, new: &'a NewRecord) -> FutureRecord<'a, Vec<u8>, Vec<u8>> {
        let headers = new
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_ref() }));
        let mut record = FutureRecord::to(&self.name).headers(headers);
        record.key = new.key.as_ref();
        record.payload = new.payload.as_ref();
        record.partition = new.partition;
        record
    }

    /// The end of each partition: the offset that its next record gets.
    pub fn ends(&self) -> HashMap<i32, i64> {
        let consumer = self.reader("order-tests-reader");
        // A client that knew the topic while its broker was down may keep that a partition is unknown; a new one asks again.
        let end =
            |partition| asked(|| self.reader("order-tests-reader").fetch_watermarks(&self.name, partition, ANSWER)).1;
        self.partitions(&consumer).into_iter().map(|partition| (partition, end(partition))).collect()
    }

    /// The number of records after the group's committed offsets.
    pub fn lag(&self, group: &str) -> i64 {
        let consumer = self.reader(group);
        let mut list = TopicPartitionList::new();
        for partition in self.partitions(&consumer) {
            list.add_partition(&self.name, partition);
        }
        let committed = asked(|| consumer.committed_offsets(list.clone(), ANSWER));
        committed
            .elements()
            .iter()
            .map(|element| {
                let (low, high) = asked(|| consumer.fetch_watermarks(&self.name, element.partition(), ANSWER));
                high - element.offset().to_raw().filter(|offset| *offset >= 0).unwrap_or(low)
            })
            .sum()
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker).set("message.timeout.ms", "20000");
        config
    }

    fn reader(&self, group: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.broker)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // Otherwise a full queue stops fetching for a second.
            .set("fetch.queue.backoff.ms", "5")
            .create()
            .expect("a consumer")
    }

    fn partitions(&self, consumer: &BaseConsumer) -> Vec<i32> {
        let metadata = asked(|| consumer.fetch_metadata(Some(&self.name), ANSWER));
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.name);
        topic.map(|topic| topic.partitions().iter().map(MetadataPartition::id).collect()).unwrap_or_default()
    }
}

/// Repeats a request until the broker answers. A restarted broker may not lead its partitions yet.
fn asked<T>(question: impl Fn() -> KafkaResult<T>) -> T {
    let start = Instant::now();
    loop {
        match question() {
            Ok(answer) => return answer,
            Err(error) if start.elapsed() > PATIENCE => panic!("the broker does not answer: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::NotLeaderForPartition
    )
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

/// Asserts that an empty topic with at least two partitions returns records byte for byte.
pub async fn assert_records_are_read_as_written(topic: &Topic) {
    assert_eq!(topic.read(), [], "an empty topic");
    let written = [
        NewRecord::bytes("key", [0xff, 0x00]).with_header("a", b"\xfe").with_header("a", b"2").to_partition(1),
        NewRecord { partition: Some(1), ..NewRecord::default() },
    ];
    assert_eq!(topic.produce(written.clone()).await, [(1, 0), (1, 1)]);
    let read = topic.read();
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(&written) {
        assert_eq!((&read.key, &read.payload, &read.headers), (&written.key, &written.payload, &written.headers));
    }
    assert_eq!(topic.lag("a-group-that-has-read-nothing"), 2);
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::{Topic, assert_records_are_read_as_written};

    #[tokio::test]
    async fn written_records_are_read_byte_for_byte() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("events", 3, 1).unwrap();
        let topic = Topic::new(&cluster.bootstrap_servers(), "events");
        assert_records_are_read_as_written(&topic).await;
    }
}
