//! A failed event waits, is retried, or becomes a dead letter, and affects no event of another key.

use super::rig::{Rig, header, partition};
use crate::{broker::PublishError, engine::observe::PartitionState, store::WaitingState};

#[tokio::test]
async fn a_failed_event_is_tried_again_and_its_key_keeps_order() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "fail_once");
    rig.send("Added", "a", 2, "");
    rig.send("Added", "b", 7, "");
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)), "the second event waited behind the first");
    assert_eq!(rig.counter("b").await, Some((7, 1)));
    assert_eq!((rig.stats().ok, rig.stats().retried), (3, 1));
}

#[tokio::test]
async fn other_keys_flow_beside_one_that_waits_long() {
    let rig = Rig::start().await;
    rig.send("Patient", "a", 1, "retry");
    rig.send("Added", "a", 2, "");
    for add in 1..=5 {
        rig.send("Added", "b", add, "");
    }
    rig.until("the other key", |rig| rig.stats().ok == 5).await;
    assert_eq!(rig.counter("b").await, Some((12345, 5)));
    assert_eq!(rig.counter("a").await, None);
    let waiting = rig.store.waiting(10).await.expect("memory answers");
    let states: Vec<_> = waiting.iter().map(|(_, row)| (row.offset, row.state)).collect();
    assert_eq!(states, [(0, WaitingState::Retry), (1, WaitingState::Behind)]);
    assert_eq!(rig.store.positions().await.expect("memory answers"), [(partition(), 7)], "positions have no gaps");
}

#[tokio::test]
async fn an_exhausted_event_is_a_dead_letter_and_its_key_goes_on() {
    let rig = Rig::start().await;
    let id = rig.send("Added", "a", 1, "retry");
    rig.send("Added", "a", 2, "");
    rig.settled().await;
    let letters = rig.dead_letters(1).await;
    assert_eq!(header(&letters[0], "dlq-reason"), "exhausted");
    assert_eq!(header(&letters[0], "dlq-error-code"), "told_to");
    assert_eq!(header(&letters[0], "dlq-attempts"), "4", "the first attempt and three retries");
    assert_eq!(header(&letters[0], "dlq-event-id"), id);
    assert_eq!(rig.counter("a").await, Some((2, 1)), "changes of failed attempts are dropped");
}

#[tokio::test]
async fn each_end_of_an_attempt_has_its_reason() {
    let rig = Rig::start().await;
    for (key, then) in [("a", "reject"), ("b", "panic"), ("c", "hang"), ("d", "retry")] {
        rig.send("Added", key, 1, then);
    }
    rig.broker.append(&partition(), Some("e"), "{\"eventName\":", &[]);
    rig.broker.append(&partition(), Some("f"), r#"{"eventName":"Unheard","data":{}}"#, &[]);
    rig.broker.append(&partition(), Some("g"), r#"{"eventName":"Added","version":9,"data":{}}"#, &[]);
    let mut reasons: Vec<_> = rig
        .dead_letters(7)
        .await
        .iter()
        .map(|letter| {
            (String::from_utf8(letter.key.clone().expect("a key").into()).expect("text"), header(letter, "dlq-reason"))
        })
        .collect();
    reasons.sort();
    let expected = [
        ("a", "rejected"),
        ("b", "panic"),
        ("c", "timeout"),
        ("d", "exhausted"),
        ("e", "undecodable"),
        ("f", "unknown_event"),
        ("g", "invalid"),
    ];
    assert_eq!(reasons, expected.map(|(key, reason)| (key.to_owned(), reason.to_owned())));
    assert_eq!(rig.stats().dead_lettered, 7);
    assert_eq!(rig.counter("a").await, None);
}

#[tokio::test]
async fn an_event_without_a_key_delays_no_other_event() {
    let rig = Rig::start().await;
    let payload = r#"{"eventId":"x","eventName":"Patient","data":{"id":"a","add":1,"then":"retry"}}"#;
    rig.broker.append(&partition(), None, payload, &[]);
    let payload = r#"{"eventId":"y","eventName":"Added","data":{"id":"a","add":2}}"#;
    rig.broker.append(&partition(), None, payload, &[]);
    rig.until("the second event", |rig| rig.stats().ok == 1).await;
    assert_eq!(rig.counter("a").await, Some((2, 1)));
}

#[tokio::test]
async fn a_processor_that_outlasts_its_batch_commits_later() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "dawdle");
    rig.send("Added", "a", 2, "");
    rig.send("Added", "b", 1, "");
    rig.until("the other key", |rig| rig.stats().ok == 1).await;
    let states: Vec<_> =
        rig.store.waiting(10).await.expect("memory answers").iter().map(|(_, row)| row.state).collect();
    assert_eq!(states, [WaitingState::Running, WaitingState::Behind]);
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)));
    assert_eq!(rig.stats().retried, 0, "there was only one attempt");
}

#[tokio::test]
async fn a_skipped_event_leaves_no_change() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "skip");
    rig.settled().await;
    assert_eq!(rig.counter("a").await, None);
    assert_eq!((rig.stats().skipped, rig.stats().dead_lettered), (1, 0));
}

#[tokio::test]
async fn a_parked_key_waits_and_others_go_on() {
    let rig = Rig::start().await;
    rig.send("Parked", "a", 1, "retry");
    rig.send("Added", "a", 2, "");
    rig.send("Added", "b", 3, "");
    rig.until("the other key", |rig| rig.stats().ok == 1 && rig.stats().waiting == 2).await;
    assert_eq!(rig.counter("b").await, Some((3, 1)));
    assert!(rig.engine.operations().health().not_ready.is_empty(), "a parked key does not affect readiness");
}

#[tokio::test]
async fn stop_holds_the_partition_until_an_operator_resumes_it() {
    let rig = Rig::start().await;
    rig.send("Stopping", "a", 1, "stop_once");
    rig.until("the stop", |rig| rig.engine.operations().partitions()[0].state == PartitionState::Stopped).await;
    let health = rig.engine.operations().health();
    assert!(health.not_ready[0].contains("offset 0 stopped the partition"), "{:?}", health.not_ready);
    assert!(health.not_live.is_empty());
    rig.send("Added", "b", 5, "");
    rig.engine.operations().resume();
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((1, 1)), "the held event ran again");
    assert_eq!(rig.counter("b").await, Some((5, 1)));
}

#[tokio::test]
async fn waiting_events_survive_their_owner() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "fail_once");
    rig.send("Added", "a", 2, "");
    rig.until("the wait", |rig| rig.stats().waiting > 0 || rig.stats().ok == 2).await;
    rig.broker.revoke(&[partition()], true).await;
    rig.broker.assign(&[partition()]).await;
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)));
}

#[tokio::test]
async fn dead_letters_wait_for_the_broker_and_keep_their_id() {
    let rig = Rig::start().await;
    let away = || PublishError::Transient { topic: "things-dlq".to_owned(), reason: "offline".to_owned() };
    rig.broker.fail_publish(away());
    rig.broker.fail_publish(away());
    rig.send("Added", "a", 1, "reject");
    rig.send("Added", "b", 2, "");
    rig.until("the good event", |rig| rig.stats().ok == 1).await;
    let letters = rig.dead_letters(1).await;
    assert_eq!(header(&letters[0], "dlq-id").len(), 32);
    rig.until("an empty outbox", |rig| rig.engine.operations().health().not_ready.is_empty()).await;
}

#[tokio::test]
async fn a_dead_letter_that_is_too_large_leaves_without_its_optional_headers() {
    let rig = Rig::start().await;
    rig.broker.fail_publish(PublishError::TooLarge { topic: "things-dlq".to_owned() });
    rig.send("Added", "a", 1, "reject");
    let letters = rig.dead_letters(1).await;
    assert_eq!(letters[0].headers.len(), 7);
}

#[tokio::test]
async fn a_replay_opens_its_event_again_and_a_repeat_does_not() {
    let rig = Rig::start().await;
    rig.send_as("same", "Added", "a", 1, "reject");
    let id = header(&rig.dead_letters(1).await[0], "dlq-id");
    let payload = rig.broker.published()[0].payload.clone().expect("a payload");
    let payload = String::from_utf8(payload.into()).expect("text");

    rig.broker.append(&partition(), Some("a"), &payload, &[]);
    rig.broker.append(&partition(), Some("a"), &payload, &[("dlq-id", "forged")]);
    rig.settled().await;
    assert_eq!(rig.stats().skipped, 2, "the same record again and a forged replay are repeats");

    rig.broker.append(&partition(), Some("a"), &payload, &[("dlq-id", &id), ("dlq-replays", "1")]);
    let letters = rig.dead_letters(2).await;
    assert_eq!((header(&letters[1], "dlq-id"), header(&letters[1], "dlq-replays")), (id, "1".to_owned()));
}
