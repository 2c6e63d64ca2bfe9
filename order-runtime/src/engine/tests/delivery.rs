//! Each event once, in the order of its key.

use std::sync::Arc;

use super::rig::{Rig, header, partition, settings};
use crate::{
    broker::{Start, memory::MemoryBroker},
    config::OffsetReset,
    engine::{Settings, partition::BATCH_RECORDS},
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
    assert!(metadata.parse::<uuid::Uuid>().is_ok(), "the store's id is the offset's metadata: {metadata}");
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
    assert_eq!(header(&letters[0], "dlq-event-id"), "same", "the id that the producer knows");
    assert_eq!(rig.counter("a").await, Some((1, 1)));
}

#[tokio::test]
async fn a_repeat_in_another_json_form_is_a_repeat() {
    let rig = Rig::start().await;
    for payload in [
        r#"{"eventId":"same","eventName":"Added","data":{"id":"a","add":1,"then":""}}"#,
        r#"{"eventName":"Added","eventId":"same","sentAt":"2026-01-31T12:00:00Z","data":{"id":"a","add":1,"then":""}}"#,
        r#"{"data":{"then":"","add":1,"id":"a"},"eventName":"Added","version":1,"eventId":"same"}"#,
        r#"{"eventId": "same", "occurredAt": "2026-01-31T12:00:00Z", "eventName": "Added", "data": {"id": "\u0061", "add": 1.0, "then": ""}}"#,
    ] {
        rig.broker.append(&partition(), Some("a"), payload, &[]);
    }
    rig.settled().await;
    assert_eq!(rig.broker.published(), [], "no repeat is a dead letter");
    assert_eq!(rig.counter("a").await, Some((1, 1)));
    assert_eq!((rig.stats().ok, rig.stats().skipped), (1, 3));
}

#[tokio::test]
async fn an_id_with_another_name_or_version_belongs_to_another_event() {
    let rig = Rig::start().await;
    rig.send_as("same", "Added", "a", 1, "");
    rig.send_as("same", "Twice", "a", 1, "");
    rig.settled().await;
    let letters = rig.dead_letters(1).await;
    assert_eq!(header(&letters[0], "dlq-error-code"), "event_id_reused");
    assert_eq!(rig.counter("a").await, Some((1, 1)));
}

/// Appends a `CloudEvent` of a shop in structured and then in binary mode. Each shop numbers its events from 1.
fn of_shop(rig: &Rig, shop: &str, id: &str, add: i64) {
    let data = format!(r#"{{"id":"a","add":{add},"then":""}}"#);
    let payload =
        format!(r#"{{"specversion":"1.0","source":"/shops/{shop}","id":"{id}","type":"Added","data":{data}}}"#);
    rig.broker.append(&partition(), Some("a"), &payload, &[]);
    let source = format!("/shops/{shop}");
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_source", source.as_str()),
        ("ce_id", id),
        ("ce_type", "Added"),
        ("content-type", "application/json"),
    ];
    rig.broker.append(&partition(), Some("a"), &data, &headers);
}

#[tokio::test]
async fn cloud_events_are_identified_by_source_and_id() {
    let rig = Rig::start().await;
    for (shop, id, add) in [("one", "1", 1), ("two", "1", 2), ("one", "2", 3), ("two", "2", 4), ("one", "1", 1)] {
        of_shop(&rig, shop, id, add);
    }
    rig.settled().await;
    assert_eq!(rig.broker.published(), [], "each is a good event");
    assert_eq!(rig.counter("a").await, Some((1234, 4)));
    assert_eq!((rig.stats().ok, rig.stats().skipped), (4, 6), "each binary event is a repeat, and so is the last one");
    of_shop(&rig, "one", "1", 7);
    rig.settled().await;
    let letters = rig.dead_letters(2).await;
    assert_eq!(header(&letters[0], "dlq-error-code"), "event_id_reused", "one source has reused its id");
}

#[tokio::test]
async fn events_that_share_an_id_emit_events_of_their_own() {
    let rig = Rig::start().await;
    for shop in ["one", "two"] {
        let payload = format!(
            r#"{{"specversion":"1.0","source":"/{shop}","id":"1","type":"Added","data":{{"id":"a","add":1,"then":"emit"}}}}"#
        );
        rig.broker.append(&partition(), Some("a"), &payload, &[]);
    }
    rig.until("four events", |rig| rig.broker.published().len() == 4).await;
    let ids: std::collections::BTreeSet<String> = rig
        .broker
        .published()
        .iter()
        .filter_map(|record| serde_json::from_slice::<serde_json::Value>(record.payload.as_deref()?).ok())
        .map(|event| event["eventId"].to_string())
        .collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[tokio::test]
async fn a_new_owner_continues_at_the_position_of_the_last_one() {
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
    // Both act as the owner of the partition; the compare-and-set lets only one of them move the position.
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
    rig.until("it is not ready", |rig| !rig.engine.operations().health().not_ready.is_empty()).await;
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
    assert_eq!(rig.broker.assign(&[later]).await, [Start::At(0)], "a new partition is read from its start");
}
