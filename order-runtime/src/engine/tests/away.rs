//! A service that a processor calls is away.

use super::rig::{AWAY, Rig};

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

/// One event every two seconds: the retries of each are spent before the next one comes.
#[tokio::test(start_paused = true)]
async fn an_outage_makes_no_dead_letters_where_little_comes_either() {
    const EVENTS: i64 = 16;
    let rig = Rig::start().await;
    rig.send("Dependent", "before", 1, "");
    rig.settled().await;
    AWAY.set(true);
    for number in 0..EVENTS {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        rig.send("Dependent", &format!("key-{number}"), 1, "");
    }
    rig.until("the breaker opens", is_open).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    AWAY.set(false);
    rig.settled().await;
    assert_eq!((rig.stats().ok, rig.stats().dead_lettered), (17, 0));
}

/// Whoever sends events that fail by themselves must not hold up those of others.
#[tokio::test]
async fn failures_that_depend_on_the_event_open_no_breaker() {
    let rig = Rig::start().await;
    for number in 0..100 {
        let then = if number % 2 == 0 { "retry" } else { "panic" };
        rig.send("Patient", &format!("forged-{number}"), 1, then);
    }
    rig.until("all have failed", |rig| rig.engine.operations().partitions()[0].waiting_events == 100).await;
    rig.send("Patient", "honest", 1, "");
    rig.until("the honest event", |rig| rig.stats().ok == 1).await;
    let health = rig.engine.operations().health();
    assert!(health.not_ready.is_empty(), "{health:?}");
}
