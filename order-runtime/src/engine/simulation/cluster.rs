//! The simulated cluster: topics that several members of a group read, and the dead-letter topic.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use super::{
    faults::{Bug, Faults},
    gate::Gate,
    journal::{Journal, LogReport},
    store::at_once,
};
use crate::{
    broker::{
        Acknowledged, BrokerError, ClusterMetadata, ClusterTopics, Consumer, ConsumerEvent, InboxStatus,
        PartitionOffer, PublishError, Publisher, Start, TopicState,
    },
    model::{Health, OutgoingRecord, OutgoingRecords, PartitionId, RecordBatch},
    store::Store,
};

/// The topic that every member reads.
pub(super) const EVENTS: &str = "events";
/// The topic that some members do not read, and that is deleted and recreated.
pub(super) const MORE: &str = "more";

/// The records of a partition: keys and payloads.
type Log = Vec<(Option<String>, String)>;

/// The state that all members share.
pub(super) struct Cluster {
    logs: Mutex<BTreeMap<PartitionId, Log>>,
    /// How often the second topic was created, and whether it exists now.
    more: Mutex<(u64, bool)>,
    pub(super) published: Mutex<Vec<OutgoingRecord>>,
    pub(super) journal: Arc<Journal>,
    store: Arc<dyn Store>,
    /// The number (tenure) of the next assignment of partitions to a member.
    tenures: AtomicU64,
}

fn id(topic: &str, topic_id: u64, partition: i32) -> PartitionId {
    PartitionId {
        cluster: Arc::from("simulated"),
        topic_id: Uuid::from_u128(topic_id.into()),
        topic: Arc::from(topic),
        partition,
    }
}

/// A partition of the first topic.
pub(super) fn partition(number: i32) -> PartitionId {
    id(EVENTS, 1, number)
}

impl Cluster {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            logs: Mutex::default(),
            more: Mutex::default(),
            published: Mutex::default(),
            journal: Arc::default(),
            store,
            tenures: AtomicU64::new(0),
        }
    }

    /// Appends a record and returns its offset.
    pub(super) fn append(&self, partition: &PartitionId, key: &str, payload: String) -> i64 {
        let mut logs = self.logs.lock();
        let log = logs.entry(partition.clone()).or_default();
        log.push((Some(key.to_owned()), payload));
        i64::try_from(log.len()).expect("a small log") - 1
    }

    /// The offset after the last record.
    pub(super) fn end(&self, partition: &PartitionId) -> i64 {
        self.logs.lock().get(partition).map_or(0, |log| i64::try_from(log.len()).expect("a small log"))
    }

    /// Removes the last records of a partition; `end` is the offset after the last remaining record.
    pub(super) fn truncate(&self, partition: &PartitionId, end: i64) {
        if let Some(log) = self.logs.lock().get_mut(partition) {
            log.truncate(usize::try_from(end).unwrap_or_default());
        }
    }

    /// The only partition of the second topic, if the topic exists now.
    pub(super) fn more(&self) -> Option<PartitionId> {
        let (made, exists) = *self.more.lock();
        exists.then(|| id(MORE, 100 + made, 0))
    }

    /// Deletes the second topic.
    pub(super) fn delete_more(&self) {
        self.more.lock().1 = false;
    }

    /// Creates the second topic, with an id that no topic had before.
    pub(super) fn make_more(&self) {
        let mut more = self.more.lock();
        *more = (more.0 + 1, true);
    }

    /// Returns the end of a log for a member, and notes the report in the journal.
    fn tell(&self, partition: &PartitionId, tenure: u64) -> i64 {
        let log_end = self.end(partition);
        let position = at_once(self.store.reload(partition)).ok().flatten().map_or(0, |stored| stored.next_offset);
        self.journal.report(LogReport { partition: partition.clone(), log_end, position, tenure });
        log_end
    }
}

/// The read position of a member in a partition.
#[derive(Debug)]
struct Cursor {
    next: Option<i64>,
    paused: bool,
    ready: Arc<Notify>,
    tenure: u64,
}

/// The client of one process.
pub(super) struct Member {
    /// The cluster name of its partitions. A processor finds its process by the address of this name.
    pub(super) name: Arc<str>,
    cluster: Arc<Cluster>,
    gate: Arc<Gate>,
    faults: Arc<Faults>,
    events: mpsc::UnboundedSender<ConsumerEvent>,
    cursors: Mutex<HashMap<PartitionId, Cursor>>,
    /// The tenure of the last offer of each partition.
    offered: Mutex<HashMap<PartitionId, u64>>,
    /// The first tenure of each revoked partition that may begin after the revocation.
    taken_back: Mutex<HashMap<PartitionId, u64>>,
}

impl Member {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        gate: Arc<Gate>,
        faults: Arc<Faults>,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<ConsumerEvent>) {
        let (events, receiver) = mpsc::unbounded_channel();
        let name = Arc::from("simulated");
        (
            Arc::new(Self {
                name,
                cluster,
                gate,
                faults,
                events,
                cursors: Mutex::default(),
                offered: Mutex::default(),
                taken_back: Mutex::default(),
            }),
            receiver,
        )
    }

    /// Assigns partitions to the member and waits for the answer of its engine, which may never come.
    pub(super) async fn assign(&self, partitions: &[PartitionId]) {
        let tenure = self.cluster.tenures.fetch_add(1, Ordering::Relaxed);
        let offer = |partition: &PartitionId| PartitionOffer {
            id: PartitionId { cluster: Arc::clone(&self.name), ..partition.clone() },
            log_start: 0,
            log_end: self.cluster.end(partition),
            committed: None,
            committed_metadata: String::new(),
            ready: Arc::default(),
        };
        let offers: Vec<_> = partitions.iter().map(offer).collect();
        for offer in &offers {
            self.offered.lock().insert(offer.id.clone(), tenure);
        }
        let (answer, starts) = oneshot::channel();
        let event = ConsumerEvent::Assigned { partitions: offers.clone(), answer };
        if self.events.send(event).is_err() {
            return;
        }
        let Ok(starts) = starts.await else { return };
        for (PartitionOffer { id, ready, .. }, start) in offers.into_iter().zip(starts) {
            if self.taken_back.lock().get(&id).is_some_and(|first| tenure < *first) {
                // The partition was revoked while the store was slow.
                continue;
            }
            let next = match start {
                Start::At(offset) => Some(offset),
                Start::Paused => None,
            };
            ready.notify_one();
            self.cursors.lock().insert(id.clone(), Cursor { next, paused: false, ready, tenure });
            // The first fetch reports the current end of the log: since the offer, records may have been lost or appended.
            self.cluster.tell(&id, tenure);
            self.check_range(&id);
        }
    }

    /// Revokes partitions, in order or because the session was lost, and waits for the answer of the engine.
    pub(super) async fn revoke(&self, partitions: &[PartitionId], lost: bool) {
        let (answer, done) = oneshot::channel();
        let next = self.cluster.tenures.load(Ordering::Relaxed);
        for partition in partitions {
            self.cursors.lock().remove(partition);
            self.taken_back.lock().insert(partition.clone(), next);
        }
        let partitions = partitions.to_vec();
        if self.events.send(ConsumerEvent::Revoked { partitions, lost, answer }).is_ok() {
            let _ = done.await;
        }
    }

    /// Notifies the owner of a partition of new records.
    pub(super) fn ready(&self, partition: &PartitionId) {
        if let Some(cursor) = self.cursors.lock().get(partition) {
            cursor.ready.notify_one();
        }
    }

    /// The number of the current assignment of the partition, once the engine has answered the assignment.
    pub(super) fn tenure(&self, partition: &PartitionId) -> Option<u64> {
        self.cursor(partition, |cursor| cursor.tenure)
    }

    /// The partitions whose assignment the engine has answered.
    pub(super) fn begun(&self) -> BTreeSet<PartitionId> {
        self.cursors.lock().keys().cloned().collect()
    }

    /// Notifies the engine if the position of the member is beyond the end of the log, as after a failed fetch.
    pub(super) fn check_range(&self, partition: &PartitionId) {
        if self.gate.is_shut() {
            return;
        }
        let end = self.cluster.end(partition);
        let beyond = self.cursor(partition, |cursor| {
            let is_beyond = cursor.next.is_some_and(|next| next > end);
            if is_beyond {
                cursor.next = None;
            }
            is_beyond.then_some(cursor.tenure)
        });
        if let Some(tenure) = beyond.flatten() {
            let log_end = self.cluster.tell(partition, tenure);
            let partition = partition.clone();
            // It fails only if the engine has ended.
            let _ = self.events.send(ConsumerEvent::OutOfRange { partition, log_start: 0, log_end });
        }
    }

    fn cursor<R>(&self, id: &PartitionId, work: impl FnOnce(&mut Cursor) -> R) -> Option<R> {
        self.cursors.lock().get_mut(id).map(work)
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
            let records = logs.get(id).into_iter().flatten().enumerate().skip(from);
            // A batch may be small.
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
        self.check_range(id);
    }

    fn store_offset(&self, _: &PartitionId, _: i64, _: &str) {}

    fn inbox_status(&self, id: &PartitionId) -> Option<InboxStatus> {
        let taken = self.cursor(id, |cursor| cursor.next).flatten().unwrap_or_default();
        let log_end = self.cluster.end(id);
        Some(InboxStatus {
            log_end,
            taken,
            next: taken,
            ready_since: None,
            silent_since: None,
            transaction_since: None,
        })
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
            reason: "a simulated fault".to_owned(),
        };
        let mut answers = Vec::with_capacity(records.len());
        // No record overtakes one of its key that was not acknowledged.
        let mut held_back = BTreeSet::new();
        for record in records.iter() {
            if held_back.contains(&record.key) {
                answers.push(Err(failed(record)));
                continue;
            }
            self.gate.open().await;
            self.faults.delay_publish().await;
            if self.cluster.journal.may_interrupt(&self.gate) {
                self.faults.crash(&self.gate).await;
            }
            if self.faults.publish_fails() {
                held_back.extend(record.key.is_some().then_some(&record.key));
                answers.push(Err(failed(record)));
                continue;
            }
            let unknown = self.faults.publish_unknown().then(|| failed(record));
            held_back.extend((unknown.is_some() && record.key.is_some()).then_some(&record.key));
            if self.faults.bug != Some(Bug::DeadLettersAreDropped) || !self.faults.in_thousand(50) {
                self.cluster.published.lock().push(OutgoingRecord::clone(record));
            }
            self.gate.open().await;
            answers.push(unknown.map_or(Ok(Acknowledged { partition: 0, offset: 0 }), Err));
        }
        answers
    }
}

#[async_trait]
impl ClusterMetadata for Member {
    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        self.gate.open().await;
        if self.faults.publish_fails() {
            return Err(BrokerError::Request { what: "about topics", reason: "a simulated fault".to_owned() });
        }
        let exists = |id| TopicState::Exists { id, partitions: 1 };
        let state = |name: Arc<str>| {
            let state = match &*name {
                EVENTS => exists(partition(0).topic_id),
                MORE => self.cluster.more().map_or(TopicState::Absent, |more| exists(more.topic_id)),
                _ => TopicState::Unknown("the topic was never created".to_owned()),
            };
            (name, state)
        };
        Ok(ClusterTopics { cluster: Arc::clone(&self.name), topics: names.into_iter().map(state).collect() })
    }

    async fn log_end(&self, partition: &PartitionId) -> Result<i64, BrokerError> {
        self.gate.open().await;
        if self.faults.publish_fails() {
            return Err(BrokerError::Request { what: "where a log ends", reason: "a simulated fault".to_owned() });
        }
        let tenure = self.offered.lock().get(partition).copied().unwrap_or_default();
        Ok(self.cluster.tell(partition, tenure))
    }

    async fn readers(&self, _: &str) -> Result<Vec<String>, BrokerError> {
        Ok(Vec::new())
    }
}
