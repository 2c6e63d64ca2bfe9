//! Outages of a service that processors call: the circuit breaker.

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
    // 30 further retries and more: without the breaker, budgets of three retries would be exhausted.
    let tried = rig.stats().retried + 30;
    rig.until("a few are tried", |rig| rig.stats().retried > tried).await;
    assert_eq!(rig.counter("other").await, Some((5, 1)), "other processors go on");
    let health = rig.engine.operations().health();
    assert!(is_open(&rig) && health.not_live.is_empty(), "{health:?}");

    AWAY.set(false);
    rig.settled().await;
    assert_eq!(rig.stats().ok, 121);
    assert_eq!(rig.broker.published(), [], "no good event became a dead letter");
    assert!(rig.engine.operations().health().not_ready.is_empty());
}

/// They fail with another error than the one for which the breaker is open, and would otherwise be retried at once.
#[tokio::test(start_paused = true)]
async fn attempts_that_ran_when_the_breaker_opened_are_retried() {
    let rig = Rig::start().await;
    for number in 0..20 {
        rig.send("Dependent", &format!("early-{number}"), 1, "dawdle_and_fail_once");
    }
    rig.until("all are running", |rig| rig.engine.operations().partitions()[0].waiting_events == 20).await;
    AWAY.set(true);
    for number in 0..60 {
        rig.send("Dependent", &format!("late-{number}"), 1, "");
    }
    rig.until("the breaker opens", is_open).await;
    rig.until("the running attempts have failed", |rig| rig.stats().retried > 20).await;
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(rig.stats().ok, 0);

    AWAY.set(false);
    rig.settled().await;
    assert_eq!((rig.stats().ok, rig.stats().dead_lettered), (80, 0));
}

/// One event every two seconds: the retries of each are exhausted before the next one arrives.
#[tokio::test(start_paused = true)]
async fn an_outage_makes_no_dead_letters_at_a_low_rate_of_events() {
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

/// A producer of events that fail because of their data must not delay the events of other producers.
#[tokio::test]
async fn failures_that_depend_on_the_event_open_no_breaker() {
    let rig = Rig::start().await;
    for number in 0..100 {
        let then = if number % 2 == 0 { "retry" } else { "panic" };
        rig.send("Patient", &format!("forged-{number}"), 1, then);
    }
    rig.until("all have failed", |rig| rig.engine.operations().partitions()[0].waiting_events == 100).await;
    rig.send("Patient", "honest", 1, "");
    rig.until("the good event", |rig| rig.stats().ok == 1).await;
    let health = rig.engine.operations().health();
    assert!(health.not_ready.is_empty(), "{health:?}");
}
