//! The broker's twin in memory: the same traits, steered by a test instead of a group.
//!
//! Nothing moves by itself: records are appended, partitions assigned and revoked, and publishing broken and healed by calls.

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

/// A broker that a test steers.
pub(crate) struct MemoryBroker {
    events: mpsc::UnboundedSender<ConsumerEvent>,
    state: Mutex<State>,
}

/// The error for a record; `None` for a record that is taken.
type Refusal = Box<dyn FnMut(&OutgoingRecord) -> Option<PublishError> + Send>;

#[derive(Default)]
struct State {
    logs: BTreeMap<PartitionId, Log>,
    published: Vec<OutgoingRecord>,
    /// Errors for the next records to be published, one each.
    publish_errors: VecDeque<PublishError>,
    /// What every record is answered, as long as it is set.
    outage: Option<PublishError>,
    /// Decides which single records are refused.
    refusal: Option<Refusal>,
    /// The most bytes that were published at once.
    largest: usize,
    /// So many of the next records are taken, and nobody hears of it.
    lost_answers: usize,
    /// What the consumer says of itself.
    health: Health,
    /// Nothing that is published is ever answered.
    is_mute: bool,
    /// Whoever takes records panics.
    panics: bool,
    closed: bool,
    metadata: Metadata,
}

/// The cluster's answers to questions about topics.
#[derive(Default)]
struct Metadata {
    /// Topics that are not here do not exist, the topic `things` aside.
    topics: BTreeMap<Arc<str>, TopicState>,
    /// No question is answered.
    is_silent: bool,
    /// How often it was asked.
    asked: usize,
    /// Members of the group that read the topic of a test.
    readers: Vec<String>,
}

#[derive(Default)]
struct Log {
    records: RecordBatch,
    next_offset: i64,
    /// Where the assigned member reads next; `None` while nobody does.
    cursor: Option<i64>,
    paused: bool,
    committed: Option<(i64, String)>,
    /// Since when records lie there.
    ready_since: Option<Instant>,
    /// Since when nothing comes though there is more, as a test says.
    silent_since: Option<Instant>,
    /// Since when an open transaction keeps records back, as a test says.
    transaction_since: Option<Instant>,
    /// The owner is not told of records.
    words_are_lost: bool,
    ready: Arc<Notify>,
}

impl MemoryBroker {
    /// An empty broker; the receiver goes to the engine.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ConsumerEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { events, state: Mutex::default() }), receiver)
    }

    /// The partition of that number of the one topic.
    pub(crate) fn partition(number: i32) -> PartitionId {
        PartitionId {
            cluster: Arc::from("memory"),
            topic_id: Uuid::from_u128(1),
            topic: Arc::from("things"),
            partition: number,
        }
    }

    /// Appends a record and answers its offset, which is its timestamp too.
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

    /// Appends a record byte for byte and answers its offset.
    pub(crate) fn append_record(&self, partition: &PartitionId, record: &OutgoingRecord) -> i64 {
        let mut state = self.state.lock();
        let log = state.logs.entry(partition.clone()).or_default();
        let offset = log.next_offset;
        log.next_offset += 1;
        log.records.push(offset, record.timestamp, record.key.as_deref(), record.payload.as_deref(), &record.headers);
        // As the real consumer does: told of the first record, not of each that follows it.
        if log.cursor == Some(offset) {
            log.ready_since = Some(Instant::now());
        }
        if log.cursor == Some(offset) && !log.paused && !log.words_are_lost {
            log.ready.notify_one();
        }
        offset
    }

    /// Makes the log of a partition begin or end elsewhere.
    pub(crate) fn leave_gap(&self, partition: &PartitionId, offsets: i64) {
        self.state.lock().logs.entry(partition.clone()).or_default().next_offset += offsets;
    }

    /// Assigns partitions and answers where the engine lets each begin.
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

    /// Takes partitions back, as a rebalance does, or as a lost session does.
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

    /// Drops every record of a partition; the next one has the first offset.
    pub(crate) fn truncate(&self, partition: &PartitionId) {
        let mut state = self.state.lock();
        let log = state.logs.entry(partition.clone()).or_default();
        log.records = RecordBatch::default();
        log.next_offset = 0;
    }

    /// Says that the log does not have the offset that the member reads at.
    pub(crate) fn out_of_range(&self, partition: &PartitionId, log_start: i64, log_end: i64) {
        let event = ConsumerEvent::OutOfRange { partition: partition.clone(), log_start, log_end };
        self.events.send(event).expect("the engine listens");
    }

    /// Whether fetching is paused.
    pub(crate) fn is_paused(&self, partition: &PartitionId) -> bool {
        self.state.lock().logs.get(partition).is_some_and(|log| log.paused)
    }

    /// What was published, in order.
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

    /// From now on `refusal` decides which single records are refused.
    pub(crate) fn refuse(&self, refusal: impl FnMut(&OutgoingRecord) -> Option<PublishError> + Send + 'static) {
        self.state.lock().refusal = Some(Box::new(refusal));
    }

    /// The most bytes that were published at once.
    pub(crate) fn largest_publish(&self) -> usize {
        self.state.lock().largest
    }

    /// Takes the next record and does not say so.
    pub(crate) fn lose_answer(&self) {
        self.state.lock().lost_answers += 1;
    }

    /// Lets the consumer say this of itself.
    pub(crate) fn set_health(&self, health: Health) {
        self.state.lock().health = health;
    }

    /// From now on nothing that is published is answered.
    pub(crate) fn fall_mute(&self) {
        self.state.lock().is_mute = true;
    }

    /// Lets the cluster say this of a topic.
    pub(crate) fn set_topic(&self, name: &str, state: TopicState) {
        self.state.lock().metadata.topics.insert(name.into(), state);
    }

    /// From now on the cluster does not answer questions about topics; or it does again.
    pub(crate) fn set_silent_about_topics(&self, is_silent: bool) {
        self.state.lock().metadata.is_silent = is_silent;
    }

    /// How often the cluster was asked about topics.
    pub(crate) fn asked_about_topics(&self) -> usize {
        self.state.lock().metadata.asked
    }

    /// Lets these members of the group read the topic of a test.
    pub(crate) fn set_readers(&self, readers: &[&str]) {
        self.state.lock().metadata.readers = readers.iter().map(|reader| (*reader).to_owned()).collect();
    }

    /// From now on whoever takes records panics.
    pub(crate) fn let_takers_panic(&self) {
        self.state.lock().panics = true;
    }

    /// From now on nothing of the partition comes, though there is more; or all does.
    pub(crate) fn set_silent(&self, partition: &PartitionId, silent: bool) {
        let mut state = self.state.lock();
        let log = state.logs.entry(partition.clone()).or_default();
        log.silent_since = silent.then(Instant::now);
    }

    /// From now on an open transaction keeps the records behind those that were taken back.
    pub(crate) fn open_transaction(&self, partition: &PartitionId) {
        self.state.lock().logs.entry(partition.clone()).or_default().transaction_since = Some(Instant::now());
    }

    /// From now on the owner is not told of records that come.
    pub(crate) fn lose_words(&self, partition: &PartitionId) {
        self.state.lock().logs.entry(partition.clone()).or_default().words_are_lost = true;
    }

    /// Takes records again.
    pub(crate) fn end_outage(&self) {
        self.state.lock().outage = None;
    }

    /// The group's offset of a partition with its metadata.
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
