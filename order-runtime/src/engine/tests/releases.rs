//! Keys that an operator releases.

use super::rig::{Rig, header, partition};
use crate::{
    engine::{
        observe::PartitionState,
        partition::release::{KeySelection, Release},
        simulation::Gate,
    },
    store::{StoreError, WaitingState},
};

fn all() -> KeySelection {
    KeySelection { all: true, ..KeySelection::default() }
}

async fn held(rig: &Rig) {
    rig.until("the key is held", |rig| {
        rig.engine.operations().partitions().iter().any(|partition| partition.waiting_events == 2)
    })
    .await;
}

#[tokio::test]
async fn a_held_key_is_tried_again() {
    let rig = Rig::start().await;
    rig.send("Parked", "a", 1, "fail_once");
    rig.send("Added", "a", 2, "");
    held(&rig).await;
    assert_eq!(rig.counter("a").await, None);
    let other = KeySelection { key: Some("b".into()), ..KeySelection::default() };
    assert_eq!(rig.engine.operations().release(other, Release::Retry).await, 0);
    let key = KeySelection { key: Some("a".into()), ..KeySelection::default() };
    assert_eq!(rig.engine.operations().release(key, Release::Retry).await, 1);
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)), "in order");
}

#[tokio::test]
async fn a_held_key_becomes_a_dead_letter_and_the_rest_goes_on() {
    let rig = Rig::start().await;
    let id = rig.send("Parked", "a", 1, "retry");
    rig.send("Added", "a", 2, "");
    held(&rig).await;
    assert_eq!(rig.engine.operations().release(all(), Release::DeadLetter).await, 1);
    let letter = rig.dead_letters(1).await.remove(0);
    assert_eq!(header(&letter, "dlq-event-id"), id);
    assert_eq!(
        (header(&letter, "dlq-reason"), header(&letter, "dlq-error-code")),
        ("exhausted".into(), "told_to".into())
    );
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((2, 1)));
}

#[tokio::test]
async fn a_stopped_partition_goes_on_without_its_event() {
    let rig = Rig::start().await;
    rig.send("Stopping", "a", 1, "retry");
    let state = |rig: &Rig| rig.engine.operations().partitions()[0].state;
    rig.until("it stops", |rig| state(rig) == PartitionState::Stopped).await;
    rig.send("Added", "b", 2, "");
    assert_eq!(rig.engine.operations().release(all(), Release::DeadLetter).await, 1);
    rig.dead_letters(1).await;
    rig.settled().await;
    assert_eq!(state(&rig), PartitionState::Running);
    assert_eq!(rig.counter("b").await, Some((2, 1)));
}

/// No event runs in a stopped partition, so the repeat still waits when the operator releases its key.
#[tokio::test]
async fn a_repeat_that_an_operator_gives_up_is_skipped() {
    let rig = Rig::start().await;
    rig.send_as("e-1", "Added", "a", 1, "");
    rig.settled().await;
    rig.send("Parked", "a", 2, "retry");
    rig.send_as("e-1", "Added", "a", 1, "");
    rig.send("Stopping", "b", 3, "retry");
    let waiting = |rig: &Rig| rig.engine.operations().partitions()[0].waiting_events;
    let is_stopped = |rig: &Rig| rig.engine.operations().partitions()[0].state == PartitionState::Stopped;
    rig.until("it stops", |rig| is_stopped(rig) && waiting(rig) == 3).await;
    for left in [2, 1] {
        assert_eq!(rig.engine.operations().release(key("a"), Release::DeadLetter).await, 1);
        rig.until("the first event of the key is given up", |rig| waiting(rig) == left).await;
    }
    assert_eq!(rig.engine.operations().release(all(), Release::DeadLetter).await, 1);
    let letters = rig.dead_letters(2).await;
    let codes: Vec<_> = letters.iter().map(|letter| header(letter, "dlq-error-code")).collect();
    assert_eq!(codes, ["told_to", "told_to"]);
    assert_eq!((rig.stats().skipped, rig.counter("a").await), (1, Some((1, 1))));
}

/// Lets the next `failures` commits fail.
fn fail_commits(gate: &Gate, mut failures: u32) {
    gate.answer_commits(move |_| {
        let fails = failures > 0;
        failures -= u32::from(fails);
        fails.then(|| Err(StoreError::Unavailable("requested by the test".to_owned())))
    });
}

fn key(name: &str) -> KeySelection {
    KeySelection { key: Some(name.into()), ..KeySelection::default() }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_an_operator_gives_up_is_given_up_though_the_store_fails() {
    let (rig, gate) = Rig::behind_a_gate().await;
    let mut ids = [rig.send("Parked", "a", 1, "retry"), rig.send("Parked", "b", 1, "retry")];
    rig.until("both are held", |rig| rig.stats().waiting == 2).await;
    fail_commits(&gate, 3);
    for name in ["a", "b"] {
        assert_eq!(rig.engine.operations().release(key(name), Release::DeadLetter).await, 1);
    }
    let letters = rig.dead_letters(2).await;
    let mut reported: Vec<_> = letters.iter().map(|letter| header(letter, "dlq-event-id")).collect();
    reported.sort();
    ids.sort();
    assert_eq!(reported, ids, "a second release does not replace the first");
    rig.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_an_operator_tries_again_is_tried_though_the_store_fails() {
    let (rig, gate) = Rig::behind_a_gate().await;
    rig.send("Parked", "a", 1, "fail_once");
    rig.until("it is held", |rig| rig.stats().waiting == 1).await;
    fail_commits(&gate, 3);
    assert_eq!(rig.engine.operations().release(all(), Release::Retry).await, 1);
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_partition_is_resumed_though_the_store_fails() {
    let (rig, gate) = Rig::behind_a_gate().await;
    rig.send("Stopping", "a", 1, "stop_once");
    rig.send("Added", "b", 2, "");
    rig.until("it stops", |rig| rig.engine.operations().partitions()[0].state == PartitionState::Stopped).await;
    fail_commits(&gate, 3);
    rig.engine.operations().resume();
    rig.settled().await;
    assert_eq!((rig.counter("a").await, rig.counter("b").await), (Some((1, 1)), Some((2, 1))));
}

#[tokio::test(start_paused = true)]
async fn an_answered_release_is_done_before_the_partition_is_revoked() {
    let (rig, _gate) = Rig::behind_a_gate().await;
    rig.send("Parked", "a", 1, "fail_once");
    rig.send("Parked", "b", 1, "retry");
    rig.until("both are held", |rig| rig.stats().waiting == 2).await;
    let operations = rig.engine.operations();
    assert_eq!(operations.release(key("a"), Release::Retry).await, 1);
    assert_eq!(operations.release(key("b"), Release::DeadLetter).await, 1);
    // The partition is revoked before the released events run.
    rig.broker.revoke(&[partition()], false).await;
    let waiting = rig.store.waiting(10).await.expect("memory answers");
    let held: Vec<_> = waiting.iter().filter(|(_, row)| matches!(row.state, WaitingState::Held(_))).collect();
    assert!(held.is_empty(), "{held:?}");
    rig.dead_letters(1).await;
}
