//! Partitions that are stopped, paused, or given back while the store fails. Time is virtual.

use std::{sync::Arc, time::Duration};

use super::rig::{Rig, partition};
use crate::{
    engine::{
        observe::PartitionState,
        partition::release::{KeySelection, Release},
        simulation::SimulatedStore,
    },
    store::{Committed, PartitionStore, StoreError},
};

fn state(rig: &Rig) -> PartitionState {
    rig.engine.operations().partitions()[0].state
}

#[tokio::test(start_paused = true)]
async fn a_stopped_partition_tries_no_key_that_is_due() {
    let rig = Rig::start().await;
    // The first event's attempt ends while the partition is stopped and is settled; no other event may start because of it.
    rig.send("Added", "running", 1, "dawdle");
    rig.send("Added", "running", 2, "");
    rig.send("Added", "due", 3, "fail_once");
    rig.send("Stopping", "stops", 4, "retry");
    rig.until("it stops", |rig| state(rig) == PartitionState::Stopped).await;
    rig.until("the attempt has ended", |rig| rig.stats().ok == 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((rig.counter("running").await, rig.counter("due").await), (Some((1, 1)), None));
    assert_eq!(
        rig.engine
            .operations()
            .release(KeySelection { all: true, ..KeySelection::default() }, Release::DeadLetter)
            .await,
        3
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_waits_for_the_store_leaves_at_once() {
    for conflicts in [false, true] {
        let (rig, gate) = Rig::behind_a_gate().await;
        gate.answer_commits(move |changes| {
            let conflict = Ok(vec![Committed::Conflict; changes.len()]);
            let failure = Err(StoreError::Unavailable("requested by the test".to_owned()));
            Some(if conflicts { conflict } else { failure })
        });
        rig.send("Added", "a", 1, "");
        // By then the owner waits for seconds before it tries again.
        tokio::time::sleep(Duration::from_secs(20)).await;
        let begun = tokio::time::Instant::now();
        rig.broker.revoke(&[partition()], false).await;
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}, conflicts: {conflicts}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn drains_that_take_too_long_are_no_deaths() {
    let gate = Arc::default();
    let store = SimulatedStore::behind(&gate);
    let rig = Rig::start_on(Arc::clone(&store) as _).await;
    for lost in [false, false, true, false, true, false] {
        rig.broker.assign(&[partition()]).await;
        // Nothing is committed before the store stops answering.
        gate.shut();
        rig.send("Added", "a", 1, "");
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.broker.revoke(&[partition()], lost).await;
        gate.reopen();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let stored = store.reload(&partition()).await.expect("memory answers").expect("a position");
    assert_eq!(stored.starts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_released_key_does_not_resume_a_paused_partition() {
    let rig = Rig::start().await;
    rig.send("Parked", "a", 1, "retry");
    rig.until("it is held", |rig| rig.stats().waiting == 1).await;
    rig.engine.operations().pause();
    rig.engine.operations().release(KeySelection { all: true, ..KeySelection::default() }, Release::Retry).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(rig.broker.is_paused(&partition()));
    assert_eq!(state(&rig), PartitionState::Paused);
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_not_resumed_by_the_release_of_a_key_that_did_not_stop_it() {
    let rig = Rig::start().await;
    rig.send("Parked", "parked", 1, "fail_once");
    rig.send("Stopping", "stops", 2, "retry");
    rig.until("it stops", |rig| state(rig) == PartitionState::Stopped && rig.stats().waiting == 2).await;
    rig.send("Added", "later", 3, "");
    let parked = KeySelection { key: Some("parked".into()), ..KeySelection::default() };
    assert_eq!(rig.engine.operations().release(parked, Release::Retry).await, 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((state(&rig), rig.counter("later").await), (PartitionState::Stopped, None));
    assert!(rig.broker.is_paused(&partition()));
    rig.engine.operations().resume();
    rig.until("the released key is tried", |rig| rig.stats().ok >= 1).await;
}
