//! An in-memory broker for tests: it implements the same traits and is controlled by the test instead of a consumer group.
//!
//! Nothing happens by itself: calls append records, assign and revoke partitions, and make publishing fail or succeed.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use uuid::Uuid;

use super::{
    Acknowledged, BrokerError, ClusterMetadata, ClusterTopics, Consumer, ConsumerEvent, InboxStatus, PartitionOffer,
    PublishError, Publisher, Start, TopicState,
};
use crate::model::{Health, OutgoingRecord, OutgoingRecords, PartitionId, RecordBatch};

/// A broker that a test controls.
pub(crate) struct MemoryBroker {
    events: mpsc::UnboundedSender<ConsumerEvent>,
    state: Mutex<State>,
}

/// The error for a record; `None` for a record that is accepted.
type Refusal = Box<dyn FnMut(&OutgoingRecord) -> Option<PublishError> + Send>;

#[derive(Default)]
struct State {
    logs: BTreeMap<PartitionId, Log>,
    published: Vec<OutgoingRecord>,
    /// Errors for the next records to be published, one each.
    publish_errors: VecDeque<PublishError>,
    /// While set, the error of every published record.
    outage: Option<PublishError>,
    /// Selects single records to be refused.
    refusal: Option<Refusal>,
    /// The size of the largest call of `publish`, in bytes.
    largest: usize,
    /// How many of the next records are written without an acknowledgement.
    lost_answers: usize,
    /// The health that the consumer reports.
    health: Health,
    /// Whether publishing never completes.
    is_mute: bool,
    /// Whether taking records panics.
    panics: bool,
    closed: bool,
    metadata: Metadata,
}

/// The cluster's answers to requests about topics.
#[derive(Default)]
struct Metadata {
    /// Topics that are not listed do not exist, except `things`.
    topics: BTreeMap<Arc<str>, TopicState>,
    /// Whether every request about topics fails.
    is_silent: bool,
    /// The number of requests about topics.
    asked: usize,
    /// The group members that read the test's topic.
    readers: Vec<String>,
}

#[derive(Default)]
struct Log {
    records: RecordBatch,
    next_offset: i64,
    /// The next offset that the assigned member reads; `None` while no member reads.
    cursor: Option<i64>,
    paused: bool,
    committed: Option<(i64, String)>,
    /// Since when records have been ready.
    ready_since: Option<Instant>,
    /// Since when nothing has arrived although there is more, as set by the test.
    silent_since: Option<Instant>,
    /// Since when an open transaction has held records back, as set by the test.
    transaction_since: Option<Instant>,
    /// Whether the partition owner is not notified of records.
    words_are_lost: bool,
    ready: Arc<Notify>,
}

impl MemoryBroker {
    /// Creates an empty broker, and the receiver of its events for the engine.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ConsumerEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { events, state: Mutex::default() }), receiver)
    }

    /// The partition of this number of the topic `things`.
    pub(crate) fn partition(number: i32) -> PartitionId {
        PartitionId {
            cluster: Arc::from("memory"),
            topic_id: Uuid::from_u128(1),
            topic: Arc::from("things"),
            partition: number,
        }
    }

    /// Appends a record and returns its offset, which is also its timestamp.
    pub(crate) fn append(
        &self,
        partition: &PartitionId,
        key: Option<&str>,
        payload: &str,
        headers: &[(&str, &str)],
    ) -> i64 {
        let bytes = |text: &str| text.as_bytes().to_vec().into();
        let record = OutgoingRecord {
            topic: Arc::clone(&partition.topic),
            partition: Some(partition.partition),
            key: key.map(bytes),
            payload: Some(bytes(payload)),
            headers: headers.iter().map(|(name, value)| (name, Some(value))).collect(),
            timestamp: Some(self.state.lock().logs.get(partition).map_or(0, |log| log.next_offset)),
        };
        self.append_record(partition, &record)
    }

    /// Appends a record unchanged and returns its offset.
    pub(crate) fn append_record(&self, partition: &PartitionId, record: &OutgoingRecord) -> i64 {
        let mut state = self.state.lock();
        let log = state.logs.entry(partition.clone()).or_default();
        let offset = log.next_offset;
        log.next_offset += 1;
        log.records.push(offset, record.timestamp, record.key.as_deref(), record.payload.as_deref(), &record.headers);
        // Like the real consumer, this notifies of the first record only, not of each further one.
        if log.cursor == Some(offset) {
            log.ready_since = Some(Instant::now());
        }
        if log.cursor == Some(offset) && !log.paused && !log.words_are_lost {
            log.ready.notify_one();
        }
        offset
    }

    /// Skips offsets, so that a partition's log begins or continues at a higher one.
    pub(crate) fn leave_gap(&self, partition: &PartitionId, offsets: i64) {
        self.state.lock().logs.entry(partition.clone()).or_default().next_offset += offsets;
    }

    /// Assigns partitions and returns the start that the engine has chosen for each.
    pub(crate) async fn assign(&self, partitions: &[PartitionId]) -> Vec<Start> {
        let offers = {
            let mut state = self.state.lock();
            partitions
                .iter()
                .map(|id| {
                    let log = state.logs.entry(id.clone()).or_default();
                    PartitionOffer {
                        id: id.clone(),
                        log_start: log.records.get(0).map_or(log.next_offset, |record| record.offset),
                        log_end: log.next_offset,
                        committed: log.committed.as_ref().map(|(offset, _)| *offset),
                        committed_metadata: log.committed.as_ref().map(|(_, text)| text.clone()).unwrap_or_default(),
                        ready: Arc::clone(&log.ready),
                    }
                })
                .collect()
        };
        let (answer, starts) = oneshot::channel();
        self.events.send(ConsumerEvent::Assigned { partitions: offers, answer }).expect("the engine listens");
        let starts = starts.await.expect("the engine answers");
        let mut state = self.state.lock();
        for (id, start) in partitions.iter().zip(&starts) {
            let log = state.logs.entry(id.clone()).or_default();
            log.paused = false;
            log.cursor = match start {
                Start::At(offset) => Some(*offset),
                Start::Paused => None,
            };
            log.ready.notify_one();
        }
        starts
    }

    /// Revokes partitions, as a rebalance does, or as a lost session does.
    pub(crate) async fn revoke(&self, partitions: &[PartitionId], lost: bool) {
        let (answer, done) = oneshot::channel();
        for id in partitions {
            self.state.lock().logs.entry(id.clone()).or_default().cursor = None;
        }
        self.events
            .send(ConsumerEvent::Revoked { partitions: partitions.to_vec(), lost, answer })
            .expect("the engine listens");
        done.await.expect("the engine answers");
    }

    /// Drops every record of a partition; the next one has offset 0.
    pub(crate) fn truncate(&self, partition: &PartitionId) {
        let mut state = self.state.lock();
        let log = state.logs.entry(partition.clone()).or_default();
        log.records = RecordBatch::default();
        log.next_offset = 0;
    }

    /// Reports that the log does not have the member's next offset.
    pub(crate) fn out_of_range(&self, partition: &PartitionId, log_start: i64, log_end: i64) {
        let event = ConsumerEvent::OutOfRange { partition: partition.clone(), log_start, log_end };
        self.events.send(event).expect("the engine listens");
    }

    /// Whether fetching is paused.
    pub(crate) fn is_paused(&self, partition: &PartitionId) -> bool {
        self.state.lock().logs.get(partition).is_some_and(|log| log.paused)
    }

    /// The published records, in order.
    pub(crate) fn published(&self) -> Vec<OutgoingRecord> {
        self.state.lock().published.clone()
    }

    /// Fails the next record that is published.
    pub(crate) fn fail_publish(&self, error: PublishError) {
        self.state.lock().publish_errors.push_back(error);
    }

    /// Fails every record that is published, until the outage ends.
    pub(crate) fn begin_outage(&self, error: PublishError) {
        self.state.lock().outage = Some(error);
    }

    /// From now on, `refusal` selects single records to be refused.
    pub(crate) fn refuse(&self, refusal: impl FnMut(&OutgoingRecord) -> Option<PublishError> + Send + 'static) {
        self.state.lock().refusal = Some(Box::new(refusal));
    }

    /// The size of the largest call of `publish`, in bytes.
    pub(crate) fn largest_publish(&self) -> usize {
        self.state.lock().largest
    }

    /// Writes the next record without an acknowledgement.
    pub(crate) fn lose_answer(&self) {
        self.state.lock().lost_answers += 1;
    }

    /// Sets the health that the consumer reports.
    pub(crate) fn set_health(&self, health: Health) {
        self.state.lock().health = health;
    }

    /// From now on, publishing never completes.
    pub(crate) fn fall_mute(&self) {
        self.state.lock().is_mute = true;
    }

    /// Sets the state that the cluster reports of a topic.
    pub(crate) fn set_topic(&self, name: &str, state: TopicState) {
        self.state.lock().metadata.topics.insert(name.into(), state);
    }

    /// Sets whether requests about topics fail.
    pub(crate) fn set_silent_about_topics(&self, is_silent: bool) {
        self.state.lock().metadata.is_silent = is_silent;
    }

    /// The number of requests about topics.
    pub(crate) fn asked_about_topics(&self) -> usize {
        self.state.lock().metadata.asked
    }

    /// Sets the group members that read the test's topic.
    pub(crate) fn set_readers(&self, readers: &[&str]) {
        self.state.lock().metadata.readers = readers.iter().map(|reader| (*reader).to_owned()).collect();
    }

    /// From now on, taking records panics.
    pub(crate) fn let_takers_panic(&self) {
        self.state.lock().panics = true;
    }

    /// Sets whether nothing of the partition arrives although there is more.
    pub(crate) fn set_silent(&self, partition: &PartitionId, silent: bool) {
        let mut state = self.state.lock();
        let log = state.logs.entry(partition.clone()).or_default();
        log.silent_since = silent.then(Instant::now);
    }

    /// From now on, an open transaction holds back the records after those that were taken.
    pub(crate) fn open_transaction(&self, partition: &PartitionId) {
        self.state.lock().logs.entry(partition.clone()).or_default().transaction_since = Some(Instant::now());
    }

    /// From now on, the partition owner is not notified of records.
    pub(crate) fn lose_words(&self, partition: &PartitionId) {
        self.state.lock().logs.entry(partition.clone()).or_default().words_are_lost = true;
    }

    /// Ends the outage: published records are accepted again.
    pub(crate) fn end_outage(&self) {
        self.state.lock().outage = None;
    }

    /// The group's committed offset of a partition, with its metadata.
    pub(crate) fn committed(&self, partition: &PartitionId) -> Option<(i64, String)> {
        self.state.lock().logs.get(partition)?.committed.clone()
    }
}

impl Consumer for MemoryBroker {
    fn take(&self, partition: &PartitionId, max_records: usize, _max_bytes: usize) -> RecordBatch {
        let mut state = self.state.lock();
        let mut taken = RecordBatch::default();
        assert!(!state.panics, "the test wants a panic");
        let Some(log) = state.logs.get_mut(partition) else { return taken };
        let Some(cursor) = log.cursor.filter(|_| !log.paused) else { return taken };
        for record in log.records.iter().filter(|record| record.offset >= cursor).take(max_records) {
            taken.push_record(&record);
            log.cursor = Some(record.offset + 1);
        }
        taken
    }

    fn pause(&self, partition: &PartitionId) {
        if let Some(log) = self.state.lock().logs.get_mut(partition) {
            log.paused = true;
        }
    }

    fn resume(&self, partition: &PartitionId) {
        if let Some(log) = self.state.lock().logs.get_mut(partition) {
            log.paused = false;
            log.ready.notify_one();
        }
    }

    fn seek(&self, partition: &PartitionId, offset: i64) {
        if let Some(log) = self.state.lock().logs.get_mut(partition) {
            log.cursor = Some(offset);
            log.ready.notify_one();
        }
    }

    fn store_offset(&self, partition: &PartitionId, offset: i64, metadata: &str) {
        if let Some(log) = self.state.lock().logs.get_mut(partition) {
            log.committed = Some((offset, metadata.to_owned()));
        }
    }

    fn inbox_status(&self, partition: &PartitionId) -> Option<InboxStatus> {
        let state = self.state.lock();
        let log = state.logs.get(partition)?;
        let taken = log.cursor.unwrap_or(i64::MAX);
        let next = log.records.iter().map(|record| record.offset).find(|offset| *offset >= taken);
        Some(InboxStatus {
            log_end: log.next_offset,
            taken,
            next: next.unwrap_or(log.next_offset.max(log.cursor.unwrap_or_default())),
            ready_since: log.ready_since.filter(|_| next.is_some() && !log.paused),
            silent_since: log.silent_since,
            transaction_since: log.transaction_since,
        })
    }

    fn health(&self) -> Health {
        self.state.lock().health.clone()
    }

    fn close(&self) {
        self.state.lock().closed = true;
    }
}

#[async_trait]
impl ClusterMetadata for MemoryBroker {
    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        let metadata = &mut self.state.lock().metadata;
        metadata.asked += 1;
        if metadata.is_silent {
            return Err(BrokerError::UnknownTopic("no answer".to_owned()));
        }
        let PartitionId { cluster, topic, topic_id, .. } = Self::partition(0);
        let of = |name: Arc<str>| {
            let default =
                if name == topic { TopicState::Exists { id: topic_id, partitions: 4 } } else { TopicState::Absent };
            let known = metadata.topics.get(&name).cloned().unwrap_or(default);
            (name, known)
        };
        Ok(ClusterTopics { cluster, topics: names.into_iter().map(of).collect() })
    }

    async fn log_end(&self, partition: &PartitionId) -> Result<i64, BrokerError> {
        Ok(self.state.lock().logs.get(partition).map_or(0, |log| log.next_offset))
    }

    async fn readers(&self, _topic: &str) -> Result<Vec<String>, BrokerError> {
        Ok(self.state.lock().metadata.readers.clone())
    }
}

#[async_trait]
impl Publisher for MemoryBroker {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        if self.state.lock().is_mute {
            return std::future::pending().await;
        }
        let mut state = self.state.lock();
        state.largest = state.largest.max(records.iter().map(|record| record.size()).sum());
        let mut results = Vec::new();
        let mut behind: HashSet<(Arc<str>, Option<bytes::Bytes>)> = HashSet::new();
        for record in records.iter() {
            let place = (Arc::clone(&record.topic), record.key.clone());
            if record.key.is_some() && behind.contains(&place) {
                let (topic, reason) = (record.topic.to_string(), "an earlier record of its key has failed".to_owned());
                results.push(Err(PublishError::Transient { topic, reason }));
                continue;
            }
            let refused = state.refusal.as_mut().and_then(|refusal| refusal(record));
            match refused.or_else(|| state.outage.clone()).or_else(|| state.publish_errors.pop_front()) {
                Some(error) => {
                    if matches!(error, PublishError::Transient { .. }) {
                        behind.insert(place);
                    }
                    results.push(Err(error));
                }
                None if state.lost_answers > 0 => {
                    state.lost_answers -= 1;
                    let (topic, reason) = (record.topic.to_string(), "no answer".to_owned());
                    state.published.push(OutgoingRecord::clone(record));
                    results.push(Err(PublishError::Transient { topic, reason }));
                }
                None => {
                    state.published.push(OutgoingRecord::clone(record));
                    let offset = i64::try_from(state.published.len()).expect("a test publishes few records") - 1;
                    results.push(Ok(Acknowledged { partition: 0, offset }));
                }
            }
        }
        results
    }
}
