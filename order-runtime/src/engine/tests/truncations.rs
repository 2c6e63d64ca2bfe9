//! Logs that do not contain the position of the partition. Time is virtual.

use std::sync::Arc;

use super::rig::{Rig, partition, settings};
use crate::{
    config::OnTruncation,
    engine::{
        Settings,
        simulation::{Gate, SimulatedStore},
    },
    store::{PartitionStore, StoreError},
};

/// Lets the next `failures` commits fail that move a position without writing a deduplication window.
fn fail_jumps(gate: &Gate, mut failures: u32) {
    gate.answer_commits(move |changes| {
        let is_jump = changes.iter().all(|each| each.to != each.from && each.windows.is_empty());
        let fails = is_jump && failures > 0;
        failures -= u32::from(fails);
        fails.then(|| Err(StoreError::Unavailable("requested by the test".to_owned())))
    });
}

/// A rig whose stored position is 50, and which continues at the end of a shorter log.
async fn beyond_the_end(gate: &Arc<Gate>) -> Rig {
    let store = SimulatedStore::behind(gate);
    store.begin(&partition(), 50).await.expect("a first position");
    Rig::start_with(store, Settings { on_truncation: OnTruncation::Continue, ..settings() }).await
}

#[tokio::test(start_paused = true)]
async fn records_after_a_truncation_are_handled_although_the_store_fails_meanwhile() {
    let gate = Arc::default();
    let rig = beyond_the_end(&gate).await;
    for _ in 0..3 {
        rig.send("Added", "lost", 1, "");
    }
    fail_jumps(&gate, 4);
    rig.broker.assign(&[partition()]).await;
    for add in 1..=3 {
        rig.send("Added", "a", add, "");
    }
    // A log that ends before the position has no lag.
    rig.until("they are handled", |rig| rig.stats().ok == 3).await;
    assert_eq!(rig.counter("a").await, Some((123, 3)), "they are new, although their offsets are below the position");
    assert_eq!(rig.counter("lost").await, None);
}

#[tokio::test(start_paused = true)]
async fn records_after_a_later_truncation_are_handled_too() {
    let gate = Arc::default();
    let rig = beyond_the_end(&gate).await;
    rig.broker.leave_gap(&partition(), 50);
    rig.broker.assign(&[partition()]).await;
    rig.send("Added", "a", 1, "");
    rig.settled().await;
    fail_jumps(&gate, 4);
    // The log was cut to its beginning and has had three records since.
    rig.broker.truncate(&partition());
    rig.broker.out_of_range(&partition(), 0, 0);
    for add in 2..=4 {
        rig.send("Added", "a", add, "");
    }
    rig.until("they are handled", |rig| rig.stats().ok == 4).await;
    assert_eq!(rig.counter("a").await, Some((1_234, 4)));
    assert_eq!(rig.store.positions().await.expect("memory answers"), [(partition(), 3)]);
}

/// A waiting event is identified by its offset, which a record of the new log would reuse.
#[tokio::test(start_paused = true)]
async fn events_that_wait_beyond_the_new_end_are_settled_first() {
    let gate = Arc::default();
    let rig = beyond_the_end(&gate).await;
    rig.broker.leave_gap(&partition(), 50);
    rig.broker.assign(&[partition()]).await;
    rig.send("Added", "a", 1, "dawdle");
    rig.send("Added", "a", 2, "");
    rig.until("they wait", |rig| rig.engine.operations().partitions()[0].waiting_events == 2).await;
    rig.broker.truncate(&partition());
    rig.broker.leave_gap(&partition(), 50);
    rig.broker.out_of_range(&partition(), 50, 50);
    for add in [3, 4, 5] {
        rig.send("Added", "a", add, "dawdle");
    }
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((12_345, 5)), "no event replaced another one");
}
