//! What everybody waits for is away: a service that a processor calls, or the topic that events came from.

use std::sync::Arc;

use uuid::Uuid;

use super::rig::{AWAY, Rig, header};
use crate::{
    broker::{PartitionId, memory::MemoryBroker},
    store::{
        Changes, Store as _, WaitingRow,
        conformance::fixture::{commit, step, waiting},
        memory::MemoryStore,
    },
};

fn is_open(rig: &Rig) -> bool {
    rig.engine.operations().health().not_ready.iter().any(|why| why.contains("`away`"))
}

#[tokio::test]
async fn an_outage_costs_no_event_its_attempts() {
    const EVENTS: i64 = 120;
    let rig = Rig::start().await;
    AWAY.set(true);
    for number in 0..EVENTS / 2 {
        rig.send("Dependent", &format!("key-{number}"), 1, "");
    }
    rig.until("the breaker opens", is_open).await;
    for number in EVENTS / 2..EVENTS {
        rig.send("Dependent", &format!("key-{number}"), 1, "");
    }
    rig.send("Added", "other", 5, "");
    // 30 back-offs and more: the budget of three retries would be long spent.
    let tried = rig.stats().retried + 30;
    rig.until("a trickle is tried", |rig| rig.stats().retried > tried).await;
    assert_eq!(rig.counter("other").await, Some((5, 1)), "other processors go on");
    let health = rig.engine.operations().health();
    assert!(is_open(&rig) && health.not_live.is_empty(), "{health:?}");

    AWAY.set(false);
    rig.settled().await;
    assert_eq!(rig.stats().ok, 121);
    assert_eq!(rig.broker.published(), [], "no good event became a dead letter");
    assert!(rig.engine.operations().health().not_ready.is_empty());
}

/// They fail for another reason than the one that the breaker is open for, and would be tried again at once.
#[tokio::test(start_paused = true)]
async fn attempts_that_were_under_way_when_the_breaker_opened_get_their_turn() {
    let rig = Rig::start().await;
    for number in 0..20 {
        rig.send("Dependent", &format!("early-{number}"), 1, "dawdle_and_fail_once");
    }
    rig.until("all run on", |rig| rig.engine.operations().partitions()[0].waiting_events == 20).await;
    AWAY.set(true);
    for number in 0..60 {
        rig.send("Dependent", &format!("late-{number}"), 1, "");
    }
    rig.until("the breaker opens", is_open).await;
    rig.until("what was under way has failed", |rig| rig.stats().retried > 20).await;
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(rig.stats().ok, 0);

    AWAY.set(false);
    rig.settled().await;
    assert_eq!((rig.stats().ok, rig.stats().dead_lettered), (80, 0));
}

#[tokio::test]
async fn what_waits_of_a_topic_that_was_made_anew_is_dead_lettered_in_order() {
    let store = Arc::new(MemoryStore::default());
    let former = PartitionId { topic_id: Uuid::from_u128(99), ..MemoryBroker::partition(0) };
    store.begin(&former, 0).await.expect("a first position");
    let rows =
        [3, 4, 5].map(|offset| WaitingRow { lane: b"\x01k".to_vec(), key: Some(b"k".to_vec()), ..waiting(offset) });
    commit(&*store, Changes { to: 9, waiting: rows.to_vec(), ..step(&former, 0, 0) }).await;

    let rig = Rig::start_on(Arc::clone(&store) as _).await;
    rig.send("Added", "a", 1, "");
    rig.broker.assign(&[MemoryBroker::partition(0)]).await;
    let letters = rig.dead_letters(3).await;
    let offsets: Vec<_> = letters.iter().map(|letter| header(letter, "dlq-offset")).collect();
    assert_eq!(offsets, ["3", "4", "5"]);
    assert!(letters.iter().all(|letter| header(letter, "dlq-error-code") == "source_gone"));
    assert_eq!(letters[0].payload.as_deref(), waiting(3).payload.as_deref(), "byte for byte");
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((1, 1)), "the new topic is read from its start");
    assert_eq!(store.reload(&former).await.expect("memory answers").map(|stored| stored.next_offset), Some(9));
}
