//! Events that end the process: a stack that overflows or memory that runs out cannot be caught.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::rig::{DEADLY_RUNS, Rig, header, partition};
use crate::{
    engine::simulation::{Gate, SimulatedStore},
    store::{Store as _, memory::MemoryStore},
};

/// Runs one life of a process on `store`: it ends when the deadly event runs, or with the answer of `work`.
fn life<T>(store: &Arc<MemoryStore>, work: impl AsyncFn(&Rig) -> T) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread");
    // Dropped, the runtime drops all tasks where they are, as the end of a process does.
    runtime.block_on(async {
        let rig = Rig::start_on(Arc::clone(store) as _).await;
        rig.send_as("e-1", "Added", "good", 1, "");
        rig.send_as("e-2", "Deadly", "bad", 1, "");
        rig.send_as("e-3", "Added", "good", 2, "");
        DEADLY_RUNS.store(0, Ordering::Relaxed);
        rig.broker.assign(&[partition()]).await;
        let died = async {
            while DEADLY_RUNS.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            biased;
            () = died => None,
            answer = work(&rig) => Some(answer),
        }
    })
}

#[test]
fn an_event_that_kills_the_process_is_found_and_dead_lettered() {
    let store = Arc::new(MemoryStore::default());
    let mut deaths = 0;
    let (letter, good) = loop {
        let survived = life(&store, async |rig| {
            let letter = rig.dead_letters(1).await.remove(0);
            rig.settled().await;
            (letter, rig.counter("good").await)
        });
        match survived {
            Some(survived) => break survived,
            None => deaths += 1,
        }
        assert!(deaths < 20, "the event kills one process after the other");
    };
    assert_eq!(header(&letter, "dlq-event-id"), "e-2");
    assert_eq!(
        (header(&letter, "dlq-reason"), header(&letter, "dlq-error-code")),
        ("panic".into(), "killed_process".into())
    );
    assert_eq!(good, Some((12, 2)), "its neighbours are applied once, in order");
    assert_eq!(deaths, 5, "two until it is suspected, and three while it ran alone");
}

/// Each is settled in a batch of its own, and nothing else comes that would bring up the second.
#[tokio::test(start_paused = true)]
async fn attempts_that_end_together_after_deaths_are_all_settled() {
    let store = SimulatedStore::behind(&Arc::new(Gate::default()));
    store.begin(&partition(), 0).await.expect("a first position");
    for _ in 0..2 {
        store.assigned(&[partition()]).await.expect("memory answers");
    }
    let rig = Rig::start_on(store).await;
    rig.send("Added", "a", 1, "dawdle");
    rig.send("Added", "b", 2, "dawdle");
    rig.broker.assign(&[partition()]).await;
    rig.until("both run on", |rig| rig.engine.operations().partitions()[0].waiting_events == 2).await;
    assert_eq!(rig.stats().ok, 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    rig.settled().await;
    assert_eq!((rig.counter("a").await, rig.counter("b").await), (Some((1, 1)), Some((2, 1))));
}

#[tokio::test]
async fn members_that_come_and_go_are_no_deaths() {
    let store = Arc::new(MemoryStore::default());
    let partition = partition();
    for _ in 0..5 {
        let rig = Rig::start_on(Arc::clone(&store) as _).await;
        rig.broker.assign(std::slice::from_ref(&partition)).await;
        rig.broker.revoke(std::slice::from_ref(&partition), false).await;
    }
    let assigned = crate::store::Store::reload(&*store, &partition).await.expect("memory answers");
    assert_eq!(assigned.expect("a position").starts, 0);
}
