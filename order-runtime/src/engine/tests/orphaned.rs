//! Orphaned partitions: events wait in the store, and no assignment brings their partition to this instance.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::rig::{Rig, header};
use crate::{
    broker::{TopicState, memory::MemoryBroker},
    engine::{observe::OrphanCause, partition::release::KeySelection},
    model::PartitionId,
    store::{
        Changes, Committed, PartitionStore, WaitingRow,
        conformance::fixture::{commit, step, waiting},
        memory::MemoryStore,
    },
};

/// Longer than the confirmation that a topic is deleted takes.
const A_WHILE: Duration = Duration::from_mins(5);

/// A partition of the rig's topic before the topic was recreated.
fn former() -> PartitionId {
    PartitionId { topic_id: Uuid::from_u128(99), ..MemoryBroker::partition(0) }
}

/// A partition of a topic that the rig does not read.
fn other() -> PartitionId {
    PartitionId { topic: "others".into(), topic_id: Uuid::from_u128(7), ..MemoryBroker::partition(0) }
}

fn exists(id: u128) -> TopicState {
    TopicState::Exists { id: Uuid::from_u128(id), partitions: 4 }
}

/// A store in which events wait at the offsets 3, 4 and 5 of a partition.
async fn store(id: &PartitionId) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    store.begin(id, 0).await.expect("a first position");
    let rows =
        [3, 4, 5].map(|offset| WaitingRow { queue: b"\x01k".to_vec(), key: Some(b"k".to_vec()), ..waiting(offset) });
    commit(&*store, Changes { to: 9, waiting: rows.to_vec(), ..step(id, 0, 0) }).await;
    store
}

/// An engine on such a store, with partition 0 of its own topic assigned.
async fn rig(id: &PartitionId) -> (Rig, Arc<MemoryStore>) {
    let store = store(id).await;
    let rig = Rig::start_on(Arc::clone(&store) as _).await;
    rig.broker.assign(&[MemoryBroker::partition(0)]).await;
    (rig, store)
}

async fn waiting_events(store: &MemoryStore, id: &PartitionId) -> usize {
    store.reload(id).await.expect("memory answers").map_or(0, |stored| stored.waiting.len())
}

fn causes(rig: &Rig) -> Vec<OrphanCause> {
    rig.engine.operations().orphans().iter().map(|orphan| orphan.cause).collect()
}

/// Selects all keys of the topic.
fn topic(name: &str) -> KeySelection {
    KeySelection { topic: Some(name.to_owned()), ..KeySelection::default() }
}

#[tokio::test(start_paused = true)]
async fn waiting_events_of_a_recreated_topic_are_dead_lettered_in_order() {
    let (rig, store) = rig(&former()).await;
    rig.send("Added", "a", 1, "");
    rig.until("it is found", |rig| causes(rig) == [OrphanCause::TopicDeleted]).await;
    assert_eq!(rig.broker.published(), [], "one answer of the cluster is not enough");
    tokio::time::sleep(A_WHILE).await;
    let letters = rig.dead_letters(3).await;
    let offsets: Vec<_> = letters.iter().map(|letter| header(letter, "dlq-offset")).collect();
    assert_eq!(offsets, ["3", "4", "5"]);
    assert!(letters.iter().all(|letter| header(letter, "dlq-error-code") == "source_gone"));
    assert_eq!(letters[0].payload.as_deref(), waiting(3).payload.as_deref(), "byte for byte");
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((1, 1)), "the new topic is read from its start");
    assert_eq!(store.reload(&former()).await.expect("memory answers").map(|stored| stored.next_offset), Some(9));
    rig.until("it is not listed any more", |rig| causes(rig).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn waiting_events_of_a_deleted_topic_are_dead_lettered() {
    let (rig, _) = rig(&other()).await;
    tokio::time::sleep(A_WHILE).await;
    let letters = rig.dead_letters(3).await;
    assert!(letters.iter().all(|letter| header(letter, "dlq-error-code") == "source_gone"));
}

#[tokio::test(start_paused = true)]
async fn waiting_events_of_a_topic_that_is_not_configured_stay_and_are_listed() {
    let (rig, store) = rig(&other()).await;
    rig.broker.set_topic("others", exists(7));
    for number in 0..3 {
        tokio::time::sleep(A_WHILE).await;
        rig.broker.assign(&[MemoryBroker::partition(number)]).await;
    }
    rig.until("it is listed", |rig| causes(rig) == [OrphanCause::NotConfigured]).await;
    assert_eq!((rig.broker.published().len(), waiting_events(&store, &other()).await), (0, 3));
    let orphan = rig.engine.operations().orphans().remove(0);
    assert_eq!((&*orphan.topic, orphan.waiting_keys, orphan.waiting_events), ("others", 1, 3));
    let health = rig.engine.operations().health();
    assert!(health.not_ready.is_empty() && health.not_live.is_empty(), "{health:?}");
    assert!(health.warnings[0].starts_with("3 waiting events of the topic others: KAFKA_TOPIC"), "{health:?}");
}

/// Neither a starting broker, nor a topic that was just created, nor a revoked permission proves that a topic is deleted.
#[tokio::test(start_paused = true)]
async fn uncertain_answers_of_the_cluster_cost_no_event() {
    let (rig, store) = rig(&other()).await;
    // The topic is absent at the first look, which is the default of this broker, and exists before the second look.
    rig.until("it is found", |rig| causes(rig) == [OrphanCause::TopicDeleted]).await;
    rig.broker.set_topic("others", exists(7));
    tokio::time::sleep(A_WHILE).await;
    rig.broker.set_topic("others", TopicState::Unknown("topic authorization failed".to_owned()));
    tokio::time::sleep(A_WHILE).await;
    rig.broker.set_silent_about_topics(true);
    let asked = rig.broker.asked_about_topics();
    tokio::time::sleep(A_WHILE).await;
    assert!(rig.broker.asked_about_topics() > asked + 2, "the cluster is asked repeatedly");
    assert_eq!((rig.broker.published().len(), waiting_events(&store, &other()).await), (0, 3));
    assert_eq!(causes(&rig), [OrphanCause::NotConfigured], "the configuration is known without any answer");
}

#[tokio::test(start_paused = true)]
async fn another_cluster_costs_no_event() {
    let elsewhere = PartitionId { cluster: "elsewhere".into(), ..MemoryBroker::partition(0) };
    let (rig, store) = rig(&elsewhere).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(causes(&rig), [OrphanCause::OtherCluster]);
    assert_eq!((rig.broker.published().len(), waiting_events(&store, &elsewhere).await), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn an_operator_gives_an_orphaned_topic_up() {
    let (rig, store) = rig(&other()).await;
    rig.broker.set_topic("others", exists(7));
    let operations = rig.engine.operations();
    let why = operations.give_up(topic("things")).await.expect_err("the partition has an owner");
    assert!(why.contains("the topic things has no orphaned partition with waiting events"), "{why}");

    rig.broker.set_readers(&["another-instance at /10.0.0.7"]);
    let why = operations.give_up(topic("others")).await.expect_err("another instance reads the topic");
    assert!(why.starts_with("another-instance at /10.0.0.7 reads the topic others"), "{why}");
    assert_eq!((rig.broker.published().len(), waiting_events(&store, &other()).await), (0, 3));

    rig.broker.set_readers(&[]);
    assert_eq!(operations.give_up(topic("others")).await, Ok(3));
    let letters = rig.dead_letters(3).await;
    let reported: Vec<_> =
        letters.iter().map(|letter| (header(letter, "dlq-offset"), header(letter, "dlq-error-code"))).collect();
    assert_eq!(
        reported,
        ["3", "4", "5"].map(|offset| (offset.to_owned(), "busy".to_owned())),
        "in order, with own code"
    );
    rig.until("it is not listed any more", |rig| causes(rig).is_empty()).await;
    operations.give_up(topic("others")).await.expect_err("no event waits");
}

/// If an instance owns the partition after all, the revision decides whether its commit is applied or fenced as a whole.
#[tokio::test(start_paused = true)]
async fn a_late_commit_of_a_partition_that_was_given_up_is_fenced() {
    let (rig, store) = rig(&other()).await;
    rig.broker.set_topic("others", exists(7));
    let owned = store.reload(&other()).await.expect("memory answers").expect("a position");
    assert_eq!(rig.engine.operations().give_up(topic("others")).await, Ok(3));
    let late = Changes { released: vec![3], ..step(&other(), owned.next_offset, owned.revision) };
    assert_eq!(commit(&*store, late).await, Committed::Fenced);
}

#[tokio::test(start_paused = true)]
async fn waiting_events_of_a_topic_that_is_configured_again_are_handled() {
    let id = other();
    let store = Arc::new(MemoryStore::default());
    store.begin(&id, 0).await.expect("a first position");
    let payload = br#"{"eventId": "e", "eventName": "Added", "data": {"id": "k", "add": 4}}"#;
    let row = WaitingRow {
        queue: b"\x01k".to_vec(),
        key: Some(b"k".to_vec()),
        payload: Some(payload.to_vec()),
        headers: Vec::new(),
        ..waiting(3)
    };
    commit(&*store, Changes { to: 9, waiting: vec![row], ..step(&id, 0, 0) }).await;
    let rig = Rig::start_on(Arc::clone(&store) as _).await;
    rig.broker.set_topic("others", exists(7));
    rig.broker.leave_gap(&id, 9);
    rig.broker.assign(std::slice::from_ref(&id)).await;
    rig.settled().await;
    assert_eq!(rig.counter("k").await, Some((4, 1)));
    rig.until("it is not listed any more", |rig| causes(rig).is_empty()).await;
    assert_eq!(rig.broker.published(), []);
}
