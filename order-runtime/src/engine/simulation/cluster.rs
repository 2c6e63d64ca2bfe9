//! A log that several members of a group read, and the topic that dead letters go to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use super::faults::{Bug, Faults, Gate};
use crate::{
    broker::{
        Acknowledged, Consumer, ConsumerEvent, Intake, OutgoingRecord, OutgoingRecords, PartitionId, PartitionOffer,
        PublishError, Publisher, RecordBatch, Start,
    },
    engine::observe::Health,
};

/// The records of a partition: keys and payloads.
type Log = Vec<(Option<String>, String)>;

/// What all members see.
#[derive(Default)]
pub(super) struct Cluster {
    logs: Mutex<BTreeMap<i32, Log>>,
    pub(super) published: Mutex<Vec<OutgoingRecord>>,
}

pub(super) fn partition(number: i32) -> PartitionId {
    PartitionId {
        cluster: Arc::from("simulated"),
        topic_id: Uuid::from_u128(1),
        topic: Arc::from("events"),
        partition: number,
    }
}

impl Cluster {
    /// Appends a record and answers its offset.
    pub(super) fn append(&self, partition: i32, key: &str, payload: String) -> i64 {
        let mut logs = self.logs.lock();
        let log = logs.entry(partition).or_default();
        log.push((Some(key.to_owned()), payload));
        i64::try_from(log.len()).expect("a small log") - 1
    }

    /// The offset after the last record.
    pub(super) fn end(&self, partition: i32) -> i64 {
        self.logs.lock().get(&partition).map_or(0, |log| i64::try_from(log.len()).expect("a small log"))
    }
}

/// Where a member reads in a partition.
#[derive(Debug)]
struct Cursor {
    next: Option<i64>,
    paused: bool,
    ready: Arc<Notify>,
}

/// One process's client.
pub(super) struct Member {
    cluster: Arc<Cluster>,
    gate: Arc<Gate>,
    faults: Arc<Faults>,
    events: mpsc::UnboundedSender<ConsumerEvent>,
    cursors: Mutex<HashMap<i32, Cursor>>,
}

impl Member {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        gate: Arc<Gate>,
        faults: Arc<Faults>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<ConsumerEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        (Arc::new(Self { cluster, gate, faults, events, cursors: Mutex::default() }), receiver)
    }

    /// Gives partitions to the member; the answer comes when, and if, its engine answers.
    pub(super) async fn assign(&self, numbers: &[i32]) {
        let offer = |number: &i32| PartitionOffer {
            id: partition(*number),
            log_start: 0,
            log_end: self.cluster.end(*number),
            committed: None,
            committed_metadata: String::new(),
            ready: Arc::default(),
        };
        let offers: Vec<_> = numbers.iter().map(offer).collect();
        let (answer, starts) = oneshot::channel();
        let event = ConsumerEvent::Assigned { partitions: offers.clone(), answer };
        if self.events.send(event).is_err() {
            return;
        }
        let Ok(starts) = starts.await else { return };
        for (PartitionOffer { id, ready, .. }, start) in offers.into_iter().zip(starts) {
            let next = match start {
                Start::At(offset) => Some(offset),
                Start::Paused => None,
            };
            ready.notify_one();
            self.cursors.lock().insert(id.partition, Cursor { next, paused: false, ready });
        }
    }

    /// Takes partitions back: in order, waiting for the drain, or because the session was lost.
    pub(super) async fn revoke(&self, numbers: &[i32], lost: bool) {
        let (answer, done) = oneshot::channel();
        let partitions = numbers.iter().map(|number| partition(*number)).collect();
        for number in numbers {
            self.cursors.lock().remove(number);
        }
        if self.events.send(ConsumerEvent::Revoked { partitions, lost, answer }).is_ok() {
            let _ = done.await;
        }
    }

    /// Tells of records that have come.
    pub(super) fn ready(&self, number: i32) {
        if let Some(cursor) = self.cursors.lock().get(&number) {
            cursor.ready.notify_one();
        }
    }

    fn cursor<R>(&self, id: &PartitionId, work: impl FnOnce(&mut Cursor) -> R) -> Option<R> {
        self.cursors.lock().get_mut(&id.partition).map(work)
    }
}

impl Consumer for Member {
    fn take(&self, id: &PartitionId, max_records: usize, _: usize) -> RecordBatch {
        let mut taken = RecordBatch::default();
        if self.gate.is_shut() {
            return taken;
        }
        let logs = self.cluster.logs.lock();
        self.cursor(id, |cursor| {
            let (Some(next), false) = (cursor.next, cursor.paused) else { return };
            let from = usize::try_from(next).unwrap_or_default();
            let records = logs.get(&id.partition).into_iter().flatten().enumerate().skip(from);
            // Now and then little has arrived.
            let most = max_records.min(1 + usize::try_from(self.faults.below(40)).unwrap_or_default());
            for (offset, (key, payload)) in records.take(most) {
                let offset = i64::try_from(offset).unwrap_or_default();
                taken.push(offset, Some(offset), key.as_deref().map(str::as_bytes), Some(payload.as_bytes()), []);
                cursor.next = Some(offset + 1);
            }
        });
        taken
    }

    fn pause(&self, id: &PartitionId) {
        self.cursor(id, |cursor| cursor.paused = true);
    }

    fn resume(&self, id: &PartitionId) {
        self.cursor(id, |cursor| {
            cursor.paused = false;
            cursor.ready.notify_one();
        });
    }

    fn seek(&self, id: &PartitionId, offset: i64) {
        self.cursor(id, |cursor| {
            cursor.next = Some(offset);
            cursor.paused = false;
            cursor.ready.notify_one();
        });
    }

    fn store_offset(&self, _: &PartitionId, _: i64, _: &str) {}

    fn intake(&self, id: &PartitionId) -> Option<Intake> {
        let taken = self.cursor(id, |cursor| cursor.next).flatten().unwrap_or_default();
        let log_end = self.cluster.end(id.partition);
        Some(Intake { log_end, taken, next: taken, ready_since: None, silent_since: None, transaction_since: None })
    }

    fn health(&self) -> Health {
        Health::default()
    }

    fn close(&self) {}
}

#[async_trait]
impl Publisher for Member {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        let failed = |record: &OutgoingRecord| PublishError::Transient {
            topic: record.topic.to_string(),
            reason: "the simulation says so".to_owned(),
        };
        let mut answers = Vec::with_capacity(records.len());
        for record in records.iter() {
            self.gate.open().await;
            self.faults.delay_publish().await;
            self.faults.crash(&self.gate).await;
            if self.faults.publish_fails() {
                answers.push(Err(failed(record)));
                continue;
            }
            let unknown = self.faults.publish_unknown().then(|| failed(record));
            if self.faults.bug != Some(Bug::DeadLettersAreDropped) || !self.faults.in_thousand(50) {
                self.cluster.published.lock().push(OutgoingRecord::clone(record));
            }
            self.gate.open().await;
            answers.push(unknown.map_or(Ok(Acknowledged { partition: 0, offset: 0 }), Err));
        }
        answers
    }
}
