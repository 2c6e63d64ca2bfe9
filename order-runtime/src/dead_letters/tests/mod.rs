//! Tests of the dead-letter service with letters and a store in memory, alone and with a running engine.

mod edits;
mod large;
mod letters;
mod replays;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    DeadLetterError, DeadLetterService, Direction, LetterReplay, LetterSelection, Source, Summary,
    source::{Filling, Takes, Windows},
};
use crate::{
    broker::{Acknowledged, BrokerError, ClusterTopics, PublishError, Publisher, TopicState},
    engine::tests::rig::registry,
    model::{OutgoingRecord, OutgoingRecords, RecordBatch, TopicPattern},
    store::{Store, conformance::fixture::partition, memory::MemoryStore},
};

/// A source whose records come from a function, as a topic with one partition.
pub(crate) struct MemorySource(pub(crate) Box<dyn Fn() -> Vec<OutgoingRecord> + Send + Sync>);

#[async_trait]
impl Source for MemorySource {
    fn read(&self, takes: Takes, direction: Direction) -> Windows {
        let records = (self.0)();
        let (filling, windows) = Filling::new(takes);
        tokio::task::spawn_blocking(move || {
            let end = i64::try_from(records.len()).expect("few");
            filling.fill(vec![(0, 0, end)], &direction, |filling, ranges| {
                let wanted = |offset| ranges.iter().any(|(_, from, to)| (*from..*to).contains(&offset));
                let taken = (0..).zip(&records).filter(|(offset, _)| wanted(*offset)).all(|(offset, record)| {
                    let mut batch = RecordBatch::default();
                    let time = record.timestamp.or(Some(offset));
                    batch.push(offset, time, record.key.as_deref(), record.payload.as_deref(), &record.headers);
                    batch.iter().all(|record| filling.add("things-dlq", 0, &record))
                });
                Ok(taken)
            });
        });
        windows
    }

    /// Every topic exists with four partitions.
    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        let state = TopicState::Exists { id: partition(0).topic_id, partitions: 4 };
        let topics = names.into_iter().map(|name| (name, state.clone())).collect();
        Ok(ClusterTopics { cluster: partition(0).cluster, topics })
    }
}

/// The same records, with topics that have changed since.
struct Changed(MemorySource, TopicState);

#[async_trait]
impl Source for Changed {
    fn read(&self, takes: Takes, direction: Direction) -> Windows {
        self.0.read(takes, direction)
    }

    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        let topics = names.into_iter().map(|name| (name, self.1.clone())).collect();
        Ok(ClusterTopics { cluster: partition(0).cluster, topics })
    }
}

/// A dead-letter service on letters whose topics are now in these states.
fn service_of_changed(letters: Vec<OutgoingRecord>, state: TopicState) -> DeadLetterService {
    let records = MemorySource(Box::new(move || letters.clone()));
    DeadLetterService { source: Arc::new(Changed(records, state)), ..service(Vec::new()) }
}

/// Keeps published records; refuses records beyond `limit`.
#[derive(Default)]
pub(crate) struct Topic {
    taken: Mutex<Vec<OutgoingRecord>>,
    limit: Mutex<Option<usize>>,
    /// The id of a letter that it refuses.
    refuses: Mutex<Option<String>>,
    /// The size of each batch.
    batches: Mutex<Vec<usize>>,
}

impl Topic {
    pub(crate) fn taken(&self) -> Vec<OutgoingRecord> {
        self.taken.lock().clone()
    }
}

#[async_trait]
impl Publisher for Topic {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        self.batches.lock().push(records.len());
        let limit = self.limit.lock().unwrap_or(usize::MAX);
        let mut taken = self.taken.lock();
        let refuses = self.refuses.lock().clone();
        let mut take = |record: &Arc<OutgoingRecord>| {
            if refuses.as_ref().is_some_and(|id| record.headers.get("dlq-id") == Some(id.as_bytes())) {
                let reason = "a compacted topic takes no record without a key".to_owned();
                return Err(PublishError::Invalid { topic: record.topic.to_string(), reason });
            }
            if taken.len() >= limit {
                return Err(PublishError::Transient {
                    topic: record.topic.to_string(),
                    reason: "no broker".to_owned(),
                });
            }
            taken.push(OutgoingRecord::clone(record));
            Ok(Acknowledged { partition: 0, offset: i64::try_from(taken.len()).expect("few") - 1 })
        };
        records.iter().map(&mut take).collect()
    }
}

/// A record with these headers under the key `key`.
fn record(payload: &str, headers: &[(&str, &str)]) -> OutgoingRecord {
    OutgoingRecord {
        topic: "things-dlq".into(),
        partition: None,
        key: Some(b"key".to_vec().into()),
        payload: Some(payload.to_owned().into()),
        headers: headers.iter().map(|(name, value)| (name, Some(value))).collect(),
        timestamp: None,
    }
}

/// The id of the dead letter with this number.
pub(crate) fn id(number: u32) -> String {
    format!("{number:032x}")
}

/// A dead letter of this service; `number` is its id, its offset and its event's id.
pub(crate) fn letter(number: u32, reason: &str, replays: u32) -> OutgoingRecord {
    let (id, replays, offset, event) = (id(number), replays.to_string(), number.to_string(), format!("e-{number}"));
    let payload = format!(r#"{{"eventId": "{event}", "eventName": "Added", "data": {{"n": {number}}}}}"#);
    record(
        &payload,
        &[
            ("trace", "t"),
            ("dlq-id", &id),
            ("dlq-topic", "things"),
            ("dlq-partition", "3"),
            ("dlq-offset", &offset),
            ("dlq-event-name", "Added"),
            ("dlq-event-id", &event),
            ("dlq-reason", reason),
            ("dlq-error-code", "told_to"),
            ("dlq-replays", &replays),
        ],
    )
}

/// A dead-letter service on these letters and an empty store.
pub(crate) fn service(letters: Vec<OutgoingRecord>) -> DeadLetterService {
    DeadLetterService {
        source: Arc::new(MemorySource(Box::new(move || letters.clone()))),
        store: Some(Arc::new(MemoryStore::default()) as Arc<dyn Store>),
        registry: registry(&[]),
        budget: None,
        topics: ["things", "^more-.*"].map(|text| TopicPattern::parse(text).expect("a topic")).into(),
    }
}

async fn replay(
    service: &DeadLetterService,
    topic: &Topic,
    selection: LetterSelection,
    how: LetterReplay,
) -> Result<Summary, DeadLetterError> {
    let request = LetterReplay { selection, ..how };
    service.replay(topic, "somebody", &request, &CancellationToken::new(), |_, _, _| {}).await
}

/// Counts the letters that a replay would send.
async fn count(service: &DeadLetterService, selection: LetterSelection, how: &LetterReplay) -> Summary {
    let request = LetterReplay { selection, ..how.clone() };
    service.count(&request, &CancellationToken::new(), |_, _, _| {}).await.expect("an answer")
}

/// Replays every letter that can be replayed.
async fn replay_all(service: &DeadLetterService, topic: &Topic) -> Summary {
    replay(service, topic, LetterSelection::default(), LetterReplay::default()).await.expect("a replay")
}

fn named(numbers: &[u32]) -> LetterSelection {
    LetterSelection { ids: numbers.iter().map(|number| id(*number)).collect(), ..LetterSelection::default() }
}
