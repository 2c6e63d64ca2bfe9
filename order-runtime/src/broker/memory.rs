//! The broker's twin in memory: the same traits, steered by a test instead of a group.
//!
//! Nothing moves by itself: records are appended, partitions assigned and revoked, and publishing broken and healed by calls.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{
    Acknowledged, Consumer, ConsumerEvent, OutgoingRecord, PartitionId, PartitionOffer, PublishError, Publisher,
    RecordBatch, Start,
};
use crate::engine::observe::Health;

/// A broker that a test steers.
pub(crate) struct MemoryBroker {
    events: mpsc::UnboundedSender<ConsumerEvent>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logs: BTreeMap<PartitionId, Log>,
    published: Vec<OutgoingRecord>,
    /// Errors for the next records to be published, one each.
    publish_errors: VecDeque<PublishError>,
    /// What every record is answered, as long as it is set.
    outage: Option<PublishError>,
    /// The most bytes that were published at once.
    largest: usize,
    /// So many of the next records are taken, and nobody hears of it.
    lost_answers: usize,
    closed: bool,
}

#[derive(Default)]
struct Log {
    records: RecordBatch,
    next_offset: i64,
    /// Where the assigned member reads next; `None` while nobody does.
    cursor: Option<i64>,
    paused: bool,
    committed: Option<(i64, String)>,
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
        let bytes = |text: &str| text.as_bytes().to_vec();
        let record = OutgoingRecord {
            topic: partition.topic.to_string(),
            partition: Some(partition.partition),
            key: key.map(bytes),
            payload: Some(bytes(payload)),
            headers: headers.iter().map(|(name, value)| (bytes(name), Some(bytes(value)))).collect(),
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
        let headers = record.headers.iter().map(|(name, value)| (name.as_slice(), value.as_deref()));
        log.records.push(offset, record.timestamp, record.key.as_deref(), record.payload.as_deref(), headers);
        // As the real consumer does: told of the first record, not of each that follows it.
        if log.cursor == Some(offset) && !log.paused {
            let _ = self.events.send(ConsumerEvent::Ready(partition.clone()));
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
            let _ = self.events.send(ConsumerEvent::Ready(id.clone()));
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

    /// The most bytes that were published at once.
    pub(crate) fn largest_publish(&self) -> usize {
        self.state.lock().largest
    }

    /// Takes the next record and does not say so.
    pub(crate) fn lose_answer(&self) {
        self.state.lock().lost_answers += 1;
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
        }
        let _ = self.events.send(ConsumerEvent::Ready(partition.clone()));
    }

    fn seek(&self, partition: &PartitionId, offset: i64) {
        if let Some(log) = self.state.lock().logs.get_mut(partition) {
            log.cursor = Some(offset);
        }
        let _ = self.events.send(ConsumerEvent::Ready(partition.clone()));
    }

    fn store_offset(&self, partition: &PartitionId, offset: i64, metadata: &str) {
        if let Some(log) = self.state.lock().logs.get_mut(partition) {
            log.committed = Some((offset, metadata.to_owned()));
        }
    }

    fn log_end(&self, partition: &PartitionId) -> Option<i64> {
        self.state.lock().logs.get(partition).map(|log| log.next_offset)
    }

    fn health(&self) -> Health {
        Health::default()
    }

    fn close(&self) {
        self.state.lock().closed = true;
    }
}

#[async_trait]
impl Publisher for MemoryBroker {
    async fn publish(&self, records: Vec<OutgoingRecord>) -> Vec<Result<Acknowledged, PublishError>> {
        let mut state = self.state.lock();
        state.largest = state.largest.max(records.iter().map(OutgoingRecord::size).sum());
        let mut results = Vec::new();
        for record in records {
            match state.outage.clone().or_else(|| state.publish_errors.pop_front()) {
                Some(error) => results.push(Err(error)),
                None if state.lost_answers > 0 => {
                    state.lost_answers -= 1;
                    let (topic, reason) = (record.topic.clone(), "no answer".to_owned());
                    state.published.push(record);
                    results.push(Err(PublishError::Transient { topic, reason }));
                }
                None => {
                    state.published.push(record);
                    let offset = i64::try_from(state.published.len()).expect("a test publishes few records") - 1;
                    results.push(Ok(Acknowledged { partition: 0, offset }));
                }
            }
        }
        results
    }
}
