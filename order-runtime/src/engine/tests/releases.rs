//! Keys that an operator releases.

use super::rig::{Rig, header};
use crate::engine::{
    observe::PartitionState,
    release::{Release, Selection},
};

fn all() -> Selection {
    Selection { all: true, ..Selection::default() }
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
    let other = Selection { key: Some("b".into()), ..Selection::default() };
    assert_eq!(rig.engine.operations().release(other, Release::Retry).await, 0);
    let key = Selection { key: Some("a".into()), ..Selection::default() };
    assert_eq!(rig.engine.operations().release(key, Release::Retry).await, 1);
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)), "in their order");
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
