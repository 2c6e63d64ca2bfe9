//! The health reports each way in which a consumer can stop; `docs/health.md` lists them. Time is virtual.

use std::{sync::mpsc, time::Duration};

use futures_util::FutureExt as _;

use super::rig::{CALLS, Rig, partition};
use crate::{
    broker::{Consumer as _, PublishError},
    engine::observe::PartitionState,
    model::Health,
};

impl Rig {
    fn health(&self) -> Health {
        self.engine.operations().health()
    }

    /// Lets `time` pass, reads the health every five seconds as probes do, and returns the last one.
    async fn after(&self, time: Duration) -> Health {
        let until = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_secs(5)).await;
            self.health();
        }
        self.health()
    }
}

#[track_caller]
fn is_not_live(health: &Health, why: &str) {
    assert!(health.not_live.iter().any(|reason| reason.contains(why)), "{health:?}");
}

#[track_caller]
fn is_only_not_ready(health: &Health, why: &str) {
    assert!(health.not_ready.iter().any(|reason| reason.contains(why)), "{health:?}");
    assert_eq!(health.not_live, Vec::<String>::new(), "a known cause does not fail liveness");
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_blocks_its_thread_is_named() {
    let rig = Rig::start().await;
    let (reported, health) = mpsc::channel();
    let operations = rig.engine.operations();
    let call = move || {
        // One poll moves the clock; nothing else runs in the meantime.
        let pass = |time| assert_eq!(tokio::time::advance(time).now_or_never(), None);
        let _ = reported.send(operations.health());
        pass(Duration::from_secs(59));
        let _ = reported.send(operations.health());
        pass(Duration::from_secs(5));
        let _ = reported.send(operations.health());
        let _ = reported
            .send(Health { not_live: vec![format!("{:?}", operations.partitions()[0].state)], ..Health::default() });
    };
    CALLS.lock().insert("blocks".to_owned(), Box::new(call));
    rig.send("Calling", "blocks", 1, "");
    rig.settled().await;
    let seen: Vec<Health> = health.try_iter().collect();
    assert_eq!((&seen[0], &seen[1]), (&Health::default(), &Health::default()), "59 s are not reported yet");
    is_not_live(&seen[2], "things/0: EventProcessor_Calling has blocked its thread for 64 s");
    assert_eq!(seen[3].not_live, ["Stuck"]);
    assert_eq!(rig.health(), Health::default(), "healthy again after the call");
}

#[tokio::test(start_paused = true)]
async fn a_busy_service_is_live_and_ready() {
    let rig = Rig::start().await;
    // Slow events of one key that take minutes one after the other, and quick events of other keys.
    for number in 0..1_200 {
        rig.send("Added", "slow", 0, "dawdle");
        rig.send("Added", &format!("key-{number}"), 1, "");
    }
    let began = tokio::time::Instant::now();
    while rig.stats().lag != Some(0) || rig.stats().waiting > 0 {
        assert_eq!(rig.health(), Health::default());
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert!(began.elapsed() > Duration::from_mins(3), "{:?}", began.elapsed());
    assert_eq!(rig.after(Duration::from_mins(10)).await, Health::default(), "an idle service is healthy, too");
}

#[tokio::test(start_paused = true)]
async fn a_panicked_partition_owner_is_reported() {
    let rig = Rig::start().await;
    rig.broker.let_takers_panic();
    rig.send("Added", "a", 1, "");
    rig.until("it is reported", |rig| !rig.health().not_live.is_empty()).await;
    is_not_live(&rig.health(), "things/0: its task has ended");
    assert_eq!(rig.engine.operations().partitions()[0].state, PartitionState::Stuck);
    // After it is revoked, the partition no longer affects the health of this instance.
    rig.broker.revoke(&[partition()], false).await;
    assert_eq!(rig.health(), Health::default());
}

#[tokio::test(start_paused = true)]
async fn a_panicked_committer_and_a_panicked_relay_are_reported() {
    let (rig, gate) = Rig::behind_a_gate().await;
    CALLS.lock().insert("panics".to_owned(), Box::new(move || gate.let_visitors_panic()));
    rig.send("Calling", "panics", 1, "");
    rig.until("it is reported", |rig| rig.health().not_live.len() >= 2).await;
    is_not_live(&rig.health(), "the committer has ended");
    rig.until("the relay", |rig| rig.health().not_live.iter().any(|why| why.contains("relay has ended"))).await;
}

#[tokio::test(start_paused = true)]
async fn records_that_are_not_taken_are_reported() {
    let (rig, _gate) = Rig::behind_a_gate().await;
    rig.send("Added", "a", 1, "");
    rig.settled().await;
    rig.broker.lose_words(&partition());
    rig.send("Added", "a", 1, "");
    assert_eq!(rig.after(Duration::from_secs(55)).await, Health::default());
    is_not_live(&rig.after(Duration::from_secs(10)).await, "things/0: records have been ready for ");
}

#[tokio::test(start_paused = true)]
async fn missing_records_are_reported_unless_the_cause_is_known() {
    let rig = Rig::start().await;
    rig.broker.set_silent(&partition(), true);
    assert_eq!(rig.after(Duration::from_secs(115)).await, Health::default(), "another fetch may still help");
    is_not_live(&rig.after(Duration::from_secs(10)).await, "things/0: no record has arrived for ");
    let away = Health { not_ready: vec!["no broker is connected".to_owned()], ..Health::default() };
    rig.broker.set_health(away.clone());
    assert_eq!(rig.health(), away, "the missing broker is the cause");
    rig.broker.set_health(Health::default());
    rig.broker.set_silent(&partition(), false);
    assert_eq!(rig.health(), Health::default());
}

#[tokio::test(start_paused = true)]
async fn the_health_of_the_consumer_is_passed_on() {
    let rig = Rig::start().await;
    rig.broker.set_health(Health { not_live: vec!["the consumer has not polled".to_owned()], ..Health::default() });
    is_not_live(&rig.health(), "the consumer has not polled");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_service_is_not_reported_as_stuck() {
    let rig = Rig::start().await;
    rig.broker.set_health(Health { not_live: vec!["the consumer has not polled".to_owned()], ..Health::default() });
    rig.engine.leave();
    is_only_not_ready(&rig.health(), "the service is stopping");
    is_only_not_ready(&rig.health(), "the consumer has not polled");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_costs_readiness_only() {
    let (rig, gate) = Rig::behind_a_gate().await;
    gate.shut();
    rig.send("Added", "a", 1, "");
    assert_eq!(rig.after(Duration::from_secs(25)).await, Health::default());
    is_only_not_ready(&rig.after(Duration::from_secs(10)).await, "things/0: the store has not answered for ");
    assert_eq!(rig.engine.operations().partitions()[0].state, PartitionState::StoreAway);
    is_only_not_ready(&rig.after(Duration::from_mins(10)).await, "the store has not answered the outbox relay for ");
    gate.reopen();
    rig.settled().await;
    assert_eq!(rig.health(), Health::default());
}

#[tokio::test(start_paused = true)]
async fn partitions_that_cannot_begin_are_reported() {
    let (rig, gate) = Rig::behind_a_gate().await;
    gate.shut();
    let more = crate::broker::memory::MemoryBroker::partition(1);
    let assigned = async {
        rig.broker.assign(std::slice::from_ref(&more)).await;
    };
    let probed = async {
        assert_eq!(rig.after(Duration::from_secs(25)).await, Health::default());
        is_only_not_ready(
            &rig.after(Duration::from_secs(10)).await,
            "assigned partitions have waited for the store for ",
        );
        gate.reopen();
    };
    tokio::join!(assigned, probed);
    assert_eq!(rig.health(), Health::default());
}

#[tokio::test(start_paused = true)]
async fn missing_delivery_reports_fail_liveness() {
    let rig = Rig::start().await;
    rig.broker.fall_mute();
    rig.send("Added", "a", 1, "reject");
    assert_eq!(rig.after(Duration::from_secs(595)).await, Health::default(), "a delivery may be slow");
    is_not_live(&rig.after(Duration::from_secs(10)).await, "the producer has reported no delivery results for ");
}

#[tokio::test(start_paused = true)]
async fn a_pause_costs_readiness_until_it_ends() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "");
    rig.settled().await;
    rig.engine.operations().pause();
    // Virtual time advances only when every task waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.engine.operations().partitions().remove(0).state, PartitionState::Paused, "it is shown at once");
    rig.send("Added", "a", 2, "");
    is_only_not_ready(&rig.after(Duration::from_mins(10)).await, "an operator has paused consumption");
    let paused = rig.engine.operations().partitions().remove(0);
    assert_eq!((paused.state, paused.lag), (PartitionState::Paused, Some(1)));
    // A partition that is assigned during the pause is paused, too.
    rig.broker.revoke(&[partition()], false).await;
    rig.broker.assign(&[partition()]).await;
    is_only_not_ready(&rig.after(Duration::from_mins(5)).await, "an operator has paused consumption");
    assert_eq!(rig.counter("a").await, Some((1, 1)));
    rig.engine.operations().resume();
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12, 2)));
    assert_eq!(rig.health(), Health::default());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_stops_its_partition_costs_readiness_until_it_is_tried_again() {
    let rig = Rig::start().await;
    rig.send("Stopping", "a", 1, "stop_once");
    rig.send("Added", "b", 1, "");
    is_only_not_ready(&rig.after(Duration::from_mins(10)).await, "resume to try it again");
    rig.engine.operations().resume();
    rig.settled().await;
    assert_eq!(rig.health(), Health::default());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_no_dead_letters_costs_readiness_only() {
    let rig = Rig::start().await;
    rig.broker.begin_outage(PublishError::Transient { topic: "things-dlq".to_owned(), reason: "offline".to_owned() });
    rig.send("Added", "a", 1, "reject");
    is_only_not_ready(&rig.after(Duration::from_mins(10)).await, "does not take dead letters");
}

#[tokio::test(start_paused = true)]
async fn transaction_markers_at_the_end_of_a_log_are_no_lag() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "");
    rig.broker.leave_gap(&partition(), 2);
    rig.until("everything is handled", |rig| rig.stats().ok == 1).await;
    let shown = rig.engine.operations().partitions().remove(0);
    assert_eq!((shown.position, shown.log_end, shown.lag), (1, Some(3), Some(0)));
    assert_eq!(rig.after(Duration::from_mins(10)).await, Health::default());
    assert!(
        rig.broker.inbox_status(&partition()).is_some_and(|inbox_status| inbox_status.lag(0) == 3),
        "one record is not handled yet"
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_is_the_reason_that_partitions_show() {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "");
    rig.settled().await;
    let shown = |rig: &Rig| rig.engine.operations().partitions().remove(0);
    rig.broker.open_transaction(&partition());
    assert_eq!(shown(&rig).reason, None, "a short transaction is no reason");
    tokio::time::advance(Duration::from_secs(11)).await;
    let shown = shown(&rig);
    assert_eq!(shown.state, PartitionState::Running);
    assert!(shown.reason.is_some_and(|reason| reason.contains("a transaction of a producer has been open for 11 s")));
}
