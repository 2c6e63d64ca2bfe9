//! Reads the dead-letter topic in windows, so that memory is bounded whatever the size of the topic.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{
    Letter,
    backwards::{Direction, Steps, Unread},
};
use crate::{
    broker::{
        BrokerError, ClusterTopics,
        kafka::{MetadataClient, TopicReader},
    },
    config::KafkaConfig,
    model::RecordRef,
};

/// Maximum number of letters in a window.
const LETTERS: usize = 256;
/// A window is full when its letters reach this size, in bytes; the last letter may exceed it.
const BYTES: usize = 8 * 1024 * 1024;
/// A window is handed out after at most this number of records, so that progress is visible.
const RECORDS: u64 = 10_000;

/// Consecutive letters of the topic that match.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(super) letters: Vec<Letter>,
    /// Records read so far, in all windows.
    pub(super) read: u64,
    /// Number of records to read, at most.
    pub(super) of: u64,
    /// Set only in the last window of a step: the records that have not been read yet.
    pub(super) rest: Option<Unread>,
}

/// Decides which letters are kept in the windows.
pub(crate) type Takes = Arc<dyn Fn(&Letter) -> bool + Send + Sync>;

/// The windows of a pass over the topic.
pub(super) type Windows = mpsc::Receiver<Result<Window, BrokerError>>;

/// The letters of a dead-letter topic.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// Starts a pass over the current records of the topic. It ends early if the receiver is dropped.
    fn read(&self, takes: Takes, direction: Direction) -> Windows;

    /// The current state of these topics on the cluster.
    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError>;
}

/// A pass that fills windows.
pub(super) struct Filling {
    takes: Takes,
    window: Window,
    bytes: usize,
    since_last: u64,
    out: mpsc::Sender<Result<Window, BrokerError>>,
}

impl Filling {
    pub(super) fn new(takes: Takes) -> (Self, Windows) {
        // At most one full window, beside those that are processed and filled.
        let (out, windows) = mpsc::channel(1);
        (Self { takes, window: Window::default(), bytes: 0, since_last: 0, out }, windows)
    }

    /// Adds a record; false if the receiver was dropped.
    pub(super) fn add(&mut self, topic: &str, partition: i32, record: &RecordRef<'_>) -> bool {
        self.window.read += 1;
        self.since_last += 1;
        let letter = Letter::of(topic, partition, record);
        if (self.takes)(&letter) {
            self.bytes += letter.size();
            self.window.letters.push(letter);
        }
        let full = self.window.letters.len() >= LETTERS || self.bytes >= BYTES || self.since_last >= RECORDS;
        !full || self.hand_out()
    }

    /// Fills windows step by step. `read` adds the records of ranges, each a partition with its first offset and its end offset
    /// (exclusive), and returns false if the receiver was dropped.
    pub(super) fn fill(
        mut self,
        log: Vec<(i32, i64, i64)>,
        direction: &Direction,
        mut read: impl FnMut(&mut Self, Vec<(i32, i64, i64)>) -> Result<bool, BrokerError>,
    ) {
        let mut unread = Unread::of(log, direction);
        let mut steps = Steps::of(direction);
        self.window.of = unread.records();
        loop {
            let ranges = unread.take_latest(steps.next());
            match read(&mut self, ranges) {
                Ok(true) => self.window.rest = Some(unread.clone()),
                Ok(false) => return,
                Err(error) => return self.fail(error),
            }
            if !self.hand_out() || unread.records() == 0 {
                return;
            }
        }
    }

    fn hand_out(&mut self) -> bool {
        let next = Window { read: self.window.read, of: self.window.of, ..Window::default() };
        self.bytes = 0;
        self.since_last = 0;
        self.out.blocking_send(Ok(std::mem::replace(&mut self.window, next))).is_ok()
    }

    fn fail(self, error: BrokerError) {
        // A dropped receiver needs no error.
        let _ = self.out.blocking_send(Err(error));
    }
}

/// The dead-letter topic on Kafka.
pub(crate) struct KafkaSource {
    config: KafkaConfig,
}

impl KafkaSource {
    /// Reads `KAFKA_DLQ_TOPIC`.
    pub(crate) fn new(config: &KafkaConfig) -> Arc<Self> {
        Arc::new(Self { config: config.clone() })
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn read(&self, takes: Takes, direction: Direction) -> Windows {
        let config = self.config.clone();
        let (filling, windows) = Filling::new(takes);
        // The Kafka client blocks its thread.
        tokio::task::spawn_blocking(move || {
            let topic = &config.dlq_topic;
            let opened = TopicReader::log(&config, topic)
                .and_then(|log| Ok((log, TopicReader::open_ranges(&config, topic, [])?)));
            let (log, reader) = match opened {
                Ok(opened) => opened,
                Err(error) => return filling.fail(error),
            };
            let out = filling.out.clone();
            let mut reader = reader.while_wanted(move || !out.is_closed());
            filling.fill(log, &direction, |filling, ranges| {
                reader.go_on_with(topic, ranges)?;
                while let Some((partition, batch)) = reader.next_record()? {
                    if !batch.iter().all(|record| filling.add(topic, partition, &record)) {
                        return Ok(false);
                    }
                }
                Ok(true)
            });
        });
        windows
    }

    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        let config = self.config.clone();
        let asked = tokio::task::spawn_blocking(move || MetadataClient::new(&config)?.cluster_topics(names)).await;
        asked.unwrap_or_else(|error| Err(BrokerError::Client(error.to_string())))
    }
}
