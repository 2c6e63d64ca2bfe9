//! Events that end the process: a stack that overflows or memory that runs out cannot be caught.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::rig::{DEADLY_RUNS, Rig, header};
use crate::{broker::memory::MemoryBroker, store::memory::MemoryStore};

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
        rig.broker.assign(&[MemoryBroker::partition(0)]).await;
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

#[tokio::test]
async fn members_that_come_and_go_are_no_deaths() {
    let store = Arc::new(MemoryStore::default());
    let partition = MemoryBroker::partition(0);
    for _ in 0..5 {
        let rig = Rig::start_on(Arc::clone(&store) as _).await;
        rig.broker.assign(std::slice::from_ref(&partition)).await;
        rig.broker.revoke(std::slice::from_ref(&partition), false).await;
    }
    let assigned = crate::store::Store::reload(&*store, &partition).await.expect("memory answers");
    assert_eq!(assigned.expect("a position").starts, 0);
}
