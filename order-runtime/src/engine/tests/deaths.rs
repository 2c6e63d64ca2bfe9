//! Poison events that kill the process: a stack overflow or a lack of memory cannot be caught.

use std::{sync::Arc, time::Duration};

use super::rig::{DEATHS, Rig, header, partition};
use crate::{
    broker::memory::MemoryBroker,
    engine::simulation::{Gate, SimulatedStore},
    model::{OutgoingRecord, PartitionId},
    store::{PartitionStore, memory::MemoryStore},
};

/// Runs one process on `store`. Returns the result of `work`, or `None` if a deadly event kills the process first.
fn life<T>(store: &Arc<MemoryStore>, work: impl AsyncFn(&Rig) -> T) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread");
    // Dropping the runtime drops all tasks where they are, as the end of a process does.
    runtime.block_on(async {
        let rig = Rig::start_on(Arc::clone(store) as _).await;
        DEATHS.set(0);
        let died = async {
            while DEATHS.get() == 0 {
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

/// Runs one process after the other until one survives; returns the number of deaths and the only dead letter. `send` receives
/// the number of deaths so far. Each process has an empty log, so `send` appends the earlier events again before new ones.
fn lives(store: &Arc<MemoryStore>, send: impl Fn(&Rig, usize)) -> (usize, OutgoingRecord) {
    lives_of(store, &[partition()], send)
}

fn lives_of(
    store: &Arc<MemoryStore>,
    partitions: &[PartitionId],
    send: impl Fn(&Rig, usize),
) -> (usize, OutgoingRecord) {
    for deaths in 0..20 {
        let survived = life(store, async |rig| {
            send(rig, deaths);
            rig.broker.assign(partitions).await;
            let letter = rig.dead_letters(1).await.remove(0);
            rig.settled().await;
            letter
        });
        if let Some(letter) = survived {
            return (deaths, letter);
        }
    }
    panic!("20 processes have died without a dead letter");
}

#[track_caller]
fn is_letter_of(letter: &OutgoingRecord, event: &str) {
    let reported = ["dlq-event-id", "dlq-reason", "dlq-error-code"].map(|name| header(letter, name));
    assert_eq!(reported, [event, "panic", "killed_process"]);
}

/// The counter's number and version after all processes have ended.
fn counter(store: &Arc<MemoryStore>, id: &str) -> Option<(i64, u64)> {
    life(store, async |rig| rig.counter(id).await).expect("no deadly event runs")
}

#[test]
fn an_event_that_kills_the_process_is_found_and_dead_lettered() {
    let store = Arc::new(MemoryStore::default());
    let (deaths, letter) = lives(&store, |rig, _| {
        rig.send_as("e-1", "Added", "good", 1, "");
        rig.send_as("e-2", "Deadly", "bad", 1, "");
        rig.send_as("e-3", "Added", "good", 2, "");
    });
    is_letter_of(&letter, "e-2");
    assert_eq!(counter(&store, "good"), Some((12, 2)), "the other events are applied once, in order");
    assert_eq!(deaths, 5, "three until it is suspected, and three while it ran alone");
}

#[test]
fn an_event_that_awaits_before_it_kills_is_found_though_its_neighbours_are_committed() {
    let store = Arc::new(MemoryStore::default());
    let (deaths, letter) = lives(&store, |rig, life| {
        rig.send_as("e-1", "Deadly", "bad", 1, "dawdle");
        // Still running when the other event kills the process, and not the poison event.
        rig.send_as("e-2", "Added", "slow", 7, "dawdle");
        for number in 0..=life {
            rig.send_as(&format!("n-{number}"), "Added", &format!("neighbour-{number}"), 1, "");
        }
    });
    is_letter_of(&letter, "e-1");
    assert_eq!(deaths, 6, "three until it is suspected, and three while it ran alone");
    assert_eq!(counter(&store, "slow"), Some((7, 1)));
    assert_eq!(counter(&store, "neighbour-0"), Some((1, 1)));
}

#[test]
fn an_event_that_kills_behind_a_slow_one_of_its_key_is_found_and_the_slow_one_is_not_blamed() {
    let store = Arc::new(MemoryStore::default());
    let (deaths, letter) = lives(&store, |rig, life| {
        rig.send_as("e-1", "Added", "a", 1, "dawdle");
        rig.send_as("e-2", "Deadly", "a", 1, "");
        rig.send_as("e-3", "Added", "a", 3, "");
        for number in 0..=life {
            rig.send_as(&format!("n-{number}"), "Added", &format!("neighbour-{number}"), 1, "");
        }
    });
    is_letter_of(&letter, "e-2");
    assert_eq!(deaths, 6, "three until it is suspected, and three while it ran alone");
    assert_eq!(counter(&store, "a"), Some((13, 2)));
}

#[test]
fn a_slow_event_is_not_blamed_for_a_deadly_event_of_another_partition() {
    let store = Arc::new(MemoryStore::default());
    let partitions = [partition(), MemoryBroker::partition(1)];
    let (deaths, letter) = lives_of(&store, &partitions, |rig, _| {
        rig.send_as("e-1", "Added", "slow", 7, "dawdle");
        rig.send_to(&partitions[1], "e-2", "Deadly", "bad", 1, "");
    });
    is_letter_of(&letter, "e-2");
    assert_eq!(deaths, 5, "two until events run alone, and three while it ran alone");
    assert_eq!(counter(&store, "slow"), Some((7, 1)));
}

/// The event is interrupted each time that the member leaves, which is no death.
#[test]
fn a_slow_event_is_not_blamed_for_members_that_leave() {
    let store = Arc::new(MemoryStore::default());
    for _ in 0..2 {
        life(&store, async |rig| rig.broker.assign(&[partition()]).await);
    }
    let send = |rig: &Rig| rig.send_as("e-1", "Added", "slow", 7, "dawdle");
    for _ in 0..4 {
        life(&store, async |rig| {
            send(rig);
            rig.broker.assign(&[partition()]).await;
            rig.until("it runs", |rig| rig.stats().waiting == 1).await;
            rig.broker.revoke(&[partition()], false).await;
        });
    }
    let letters = life(&store, async |rig| {
        send(rig);
        rig.broker.assign(&[partition()]).await;
        rig.settled().await;
        rig.broker.published().len()
    });
    assert_eq!((letters, counter(&store, "slow")), (Some(0), Some((7, 1))));
}

#[test]
fn deaths_of_idle_processes_do_not_start_a_quarantine() {
    let store = Arc::new(MemoryStore::default());
    for number in 0..6 {
        // The process ends without giving its partition back.
        let starts = life(&store, async |rig| {
            rig.broker.assign(&[partition()]).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            store.reload(&partition()).await.expect("memory answers").expect("a position").starts
        });
        assert!(starts.is_some_and(|starts| starts < 3), "{starts:?} after {number} deaths");
    }
}

/// No other record arrives that would start the second event.
#[tokio::test(start_paused = true)]
async fn slow_events_run_one_after_the_other_after_deaths() {
    let store = SimulatedStore::behind(&Arc::new(Gate::default()));
    store.begin(&partition(), 0).await.expect("a first position");
    for _ in 0..2 {
        store.assigned(&[partition()]).await.expect("memory answers");
    }
    let rig = Rig::start_on(store).await;
    rig.send("Added", "a", 1, "dawdle");
    rig.send("Added", "b", 2, "dawdle");
    rig.broker.assign(&[partition()]).await;
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
    let assigned = crate::store::PartitionStore::reload(&*store, &partition).await.expect("memory answers");
    assert_eq!(assigned.expect("a position").starts, 0);
}
