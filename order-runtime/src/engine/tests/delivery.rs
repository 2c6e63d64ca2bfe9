//! Each event once, in the order of its key.

use std::sync::Arc;

use super::rig::{Rig, header, partition, settings};
use crate::{
    broker::{Start, memory::MemoryBroker},
    config::OffsetReset,
    engine::{Settings, owner::BATCH_RECORDS},
    store::memory::MemoryStore,
};

#[tokio::test]
async fn events_are_applied_once_and_in_order() {
    let rig = Rig::start().await;
    for add in 1..=5 {
        rig.send("Added", "a", add, "");
        rig.send("Added", "b", add + 1, "");
    }
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12345, 5)));
    assert_eq!(rig.counter("b").await, Some((23456, 5)));
    assert_eq!(rig.stats().ok, 10);
}

#[tokio::test]
async fn a_backlog_larger_than_a_batch_is_worked_off() {
    let rig = Rig::start().await;
    rig.broker.revoke(&[partition()], false).await;
    let events = 2 * BATCH_RECORDS + 1;
    for index in 0..events {
        rig.send("Added", &format!("key-{}", index % 100), 0, "");
    }
    rig.broker.assign(&[partition()]).await;
    rig.settled().await;
    assert_eq!(rig.stats().ok, events as u64);
}

#[tokio::test]
async fn the_position_is_in_the_store_and_kafka_follows() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "");
    rig.send("Added", "a", 2, "");
    rig.settled().await;
    assert_eq!(rig.store.positions().await.expect("memory answers"), [(partition(), 2)]);
    rig.until("Kafka's offset", |rig| rig.broker.committed(&partition()).is_some_and(|(offset, _)| offset == 2)).await;
    let (_, metadata) = rig.broker.committed(&partition()).expect("committed");
    assert!(metadata.parse::<uuid::Uuid>().is_ok(), "the store's id stands beside the offset: {metadata}");
}

#[tokio::test]
async fn a_repeated_id_counts_once() {
    let rig = Rig::start().await;
    rig.send_as("same", "Added", "a", 1, "");
    rig.send_as("same", "Added", "a", 1, "");
    rig.send("Added", "a", 2, "");
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)));
    assert_eq!((rig.stats().ok, rig.stats().skipped), (2, 1));
}

#[tokio::test]
async fn an_id_with_another_payload_is_a_dead_letter() {
    let rig = Rig::start().await;
    rig.send_as("same", "Added", "a", 1, "");
    rig.send_as("same", "Added", "a", 2, "");
    rig.settled().await;
    let letters = rig.dead_letters(1).await;
    assert_eq!(header(&letters[0], "dlq-error-code"), "event_id_reused");
    assert_eq!(rig.counter("a").await, Some((1, 1)));
}

#[tokio::test]
async fn a_new_owner_goes_on_where_the_last_one_was() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "");
    rig.settled().await;
    rig.broker.revoke(&[partition()], false).await;
    rig.send("Added", "a", 2, "");
    assert_eq!(rig.broker.assign(&[partition()]).await, [Start::At(1)]);
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)));
}

#[tokio::test]
async fn two_members_on_one_partition_apply_each_event_once() {
    let first = Rig::start().await;
    let second = Rig::start_on(std::sync::Arc::clone(&first.store)).await;
    for add in 1..=9 {
        first.send("Added", "a", add, "");
        second.send("Added", "a", add, "");
    }
    // Both believe to own the partition; the compare-and-set lets only one of them move it.
    second.broker.assign(&[partition()]).await;
    first.settled().await;
    second.settled().await;
    assert_eq!(first.counter("a").await, Some((123_456_789, 9)));
}

#[tokio::test]
async fn gaps_in_offsets_are_no_obstacle() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "");
    rig.broker.leave_gap(&partition(), 7);
    rig.send("Added", "a", 2, "");
    rig.settled().await;
    assert_eq!(rig.store.positions().await.expect("memory answers"), [(partition(), 9)]);
}

#[tokio::test]
async fn a_paused_engine_takes_nothing_until_it_is_resumed() {
    let rig = Rig::start().await;
    rig.engine.operations().pause();
    rig.send("Added", "a", 1, "");
    rig.until("ready says so", |rig| !rig.engine.operations().health().not_ready.is_empty()).await;
    assert_eq!(rig.counter("a").await, None);
    rig.engine.operations().resume();
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((1, 1)));
}

#[tokio::test]
async fn the_reset_policy_holds_for_every_partition_of_the_first_assignment() {
    let settings = Settings { reset: OffsetReset::Latest, ..settings() };
    let rig = Rig::start_with(Arc::new(MemoryStore::default()), settings).await;
    let partitions = [0, 1, 2].map(MemoryBroker::partition);
    for partition in &partitions {
        rig.broker.append(partition, Some("a"), "{}", &[]);
    }
    assert_eq!(rig.broker.assign(&partitions).await, [Start::At(1); 3]);
    let later = MemoryBroker::partition(3);
    rig.broker.append(&later, Some("a"), "{}", &[]);
    assert_eq!(rig.broker.assign(&[later]).await, [Start::At(0)], "nobody has seen what lies in a new partition");
}
