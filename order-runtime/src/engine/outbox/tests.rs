use super::*;
use crate::{
    broker::memory::MemoryBroker,
    engine::{observe::OutboxView, tests::rig::partition},
    model::{HeaderBlock, Health},
    store::{Changes, OutboxRecord, PartitionStore, memory::MemoryStore},
};

fn to(topic: &str, key: Option<&str>, payload: &str) -> OutboxRecord {
    let bytes = |text: &str| Bytes::from(text.to_owned());
    let record = OutgoingRecord {
        topic: topic.into(),
        partition: None,
        key: key.map(bytes),
        payload: Some(bytes(payload)),
        headers: HeaderBlock::default(),
        timestamp: None,
    };
    OutboxRecord { source_offset: 0, record: record.into() }
}

/// A relay over an outbox with these rows, which are numbered from 1.
async fn with(rows: Vec<OutboxRecord>) -> (Relay, Arc<MemoryBroker>) {
    let (broker, _) = MemoryBroker::new();
    let store = MemoryStore::default();
    let assigned = store.begin(&partition(), 0).await.unwrap();
    let outbox = Arc::new(OutboxState::default());
    outbox.added(&rows);
    let changes = Changes { outbox: rows, ..Changes::of_position(partition(), assigned.revision, 0, 1) };
    store.commit(vec![Arc::new(changes)]).await.unwrap();
    let relay =
        Relay { store: Arc::new(store), publisher: Arc::clone(&broker) as _, outbox, refusals: Refusals::default() };
    (relay, broker)
}

/// Makes passes until no more rows are published.
async fn passes(relay: &mut Relay) {
    for _ in 0..5 {
        let _ = relay.publish_all().await;
        relay.show(None);
        tokio::task::yield_now().await;
    }
}

fn payloads(broker: &MemoryBroker) -> Vec<String> {
    let text = |record: &OutgoingRecord| String::from_utf8_lossy(record.payload.as_deref().unwrap_or_default()).into();
    broker.published().iter().map(text).collect()
}

fn is(record: &OutgoingRecord, payload: &str) -> bool {
    record.payload.as_deref() == Some(payload.as_bytes())
}

fn away() -> PublishError {
    PublishError::Transient { topic: "t".to_owned(), reason: "down".to_owned() }
}

fn invalid() -> PublishError {
    PublishError::Invalid { topic: "t".to_owned(), reason: "no key".to_owned() }
}

#[tokio::test]
async fn a_row_that_fails_for_a_moment_is_not_overtaken_by_its_key() {
    let mut rows = vec![to("t", Some("k"), "first")];
    rows.extend((0..ROWS).map(|number| to("t", Some(&number.to_string()), "other")));
    rows.push(to("t", Some("k"), "second"));
    rows.push(to("u", Some("k"), "elsewhere"));
    let (mut relay, broker) = with(rows).await;
    let mut fails = 1;
    broker.refuse(move |record| {
        let fails_now = is(record, "first") && fails > 0;
        fails -= i32::from(fails_now);
        fails_now.then(away)
    });
    assert!(relay.publish_all().await.is_err(), "the first row must be tried again");
    let left = payloads(&broker);
    assert!(!left.iter().any(|payload| payload == "first" || payload == "second"));
    assert_eq!(left.len(), ROWS + 1, "all other rows are published, also those of another topic");
    passes(&mut relay).await;
    assert_eq!(payloads(&broker)[ROWS + 1..], ["first", "second"]);
    assert_eq!(relay.outbox.view(), OutboxView::default());
}

#[tokio::test]
async fn records_that_are_refused_because_of_a_neighbour_leave() {
    let rows = vec![to("t", None, "bad"), to("t", Some("a"), "a1"), to("t", Some("a"), "a2"), to("t", Some("b"), "b1")];
    let bad = rows[0].record.size() as u64;
    let (mut relay, broker) = with(rows).await;
    // Like a broker that refuses a whole batch without naming a record.
    let mut calls = 0;
    broker.refuse(move |record| {
        calls += 1;
        (calls <= 4 || is(record, "bad")).then(invalid)
    });
    passes(&mut relay).await;
    assert_eq!(payloads(&broker), ["a1", "b1", "a2"], "in their order for each key");
    assert_eq!(relay.outbox.view(), OutboxView { records: 1, bytes: bad, refused: 1 });
    let trouble = relay.outbox.trouble().join("\n");
    assert!(trouble.contains("the topic t refuses records as invalid (no key); 1 stay"), "{trouble}");
    assert!(trouble.contains("cleanup.policy"), "{trouble}");
}

#[tokio::test(start_paused = true)]
async fn set_aside_records_leave_when_their_topic_accepts_them() {
    let rows = (0..100).map(|number| to("t", None, &format!("large {number}"))).collect();
    let (mut relay, broker) = with(rows).await;
    broker.refuse(|record| Some(PublishError::TooLarge { topic: record.topic.to_string() }));
    passes(&mut relay).await;
    assert_eq!((payloads(&broker).len(), relay.outbox.view().refused), (0, 100));
    let trouble = relay.outbox.trouble();
    assert!(trouble.len() == 1 && trouble[0].contains("100 stay") && trouble[0].contains("max.message.bytes"));

    broker.refuse(|_| None);
    passes(&mut relay).await;
    assert_eq!(payloads(&broker).len(), 0, "the rows are not due yet");
    tokio::time::advance(SET_ASIDE_AGAIN).await;
    passes(&mut relay).await;
    assert_eq!(payloads(&broker).len(), 100);
    assert_eq!((relay.outbox.view(), relay.outbox.trouble()), (OutboxView::default(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_takes_records_again_gets_them_in_order() {
    let rows = vec![to("t", Some("a"), "1"), to("u", None, "other"), to("t", Some("a"), "2"), to("t", None, "3")];
    let (mut relay, broker) = with(rows).await;
    broker.refuse(|record| {
        let topic = record.topic.to_string();
        (topic == "t").then(|| PublishError::Refused { topic, reason: "unknown".to_owned() })
    });
    passes(&mut relay).await;
    assert_eq!((payloads(&broker), relay.outbox.view().refused), (vec!["other".to_owned()], 3));
    tokio::time::advance(Duration::from_secs(10)).await;
    passes(&mut relay).await;
    let trouble = relay.outbox.trouble().join("\n");
    assert!(trouble.contains("the topic t does not take") && trouble.contains("(unknown)"), "{trouble}");

    broker.refuse(|_| None);
    tokio::time::advance(Duration::from_secs(10)).await;
    passes(&mut relay).await;
    assert_eq!(payloads(&broker), ["other", "1", "2", "3"]);
    assert_eq!((relay.outbox.view(), relay.outbox.trouble()), (OutboxView::default(), Vec::new()));
}

#[tokio::test]
async fn the_size_counts_remaining_rows_and_no_rows_that_left_shrunk() {
    let letter = |payload: &str| {
        let mut record = OutgoingRecord::clone(&to("things-dlq", None, payload).record);
        record.headers.push("dlq-id", Some(b"id"));
        record.headers.push("optional", Some(b"text"));
        OutboxRecord { source_offset: 0, record: Arc::new(record) }
    };
    let rows = vec![letter("stays"), letter("leaves")];
    let stays = rows[0].record.size() as u64;
    let (mut relay, broker) = with(rows).await;
    broker.refuse(|record| {
        let too_large = is(record, "stays") || record.headers.len() > 1;
        too_large.then(|| PublishError::TooLarge { topic: record.topic.to_string() })
    });
    passes(&mut relay).await;
    assert_eq!(payloads(&broker), ["leaves"]);
    assert_eq!(relay.outbox.view(), OutboxView { records: 1, bytes: stays, refused: 1 });
}

#[tokio::test]
async fn a_relay_that_is_dropped_has_not_ended_by_itself() {
    let (broker, _) = MemoryBroker::new();
    let outbox = Arc::new(OutboxState::default());
    let task = tokio::spawn(super::relay(Arc::new(MemoryStore::default()), broker, Arc::clone(&outbox)));
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.is_err_and(|error| error.is_cancelled()), "the relay had started and was dropped");
    assert_eq!(outbox.standstill(), Health::default());
}
