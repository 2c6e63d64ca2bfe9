//! Transactions at the worst moment: one that is dropped half-way, and two that each rely on the absence of the other's row.

use std::{sync::Arc, time::Duration};

use tokio_postgres::Client;

use super::{
    PostgresStore, database,
    faults::{LIMIT, session, until},
    open,
};
use crate::{
    model::{HeaderBlock, OutgoingRecord},
    store::{
        Changes, Committed, OutboxRecord, PartitionStore,
        conformance::fixture::{begun, commit, counter_change, numbers, outbox, place, step},
    },
};

/// A query whether exactly `number` connections of the service wait for a lock.
fn waiting_for_locks(number: u32) -> String {
    format!(
        "SELECT count(*) = {number} FROM pg_stat_activity
         WHERE application_name = 'order-runtime' AND wait_event_type = 'Lock' AND datname = current_database()"
    )
}

/// A query whether no connection of the service is in a transaction.
const ALL_ENDED: &str = "SELECT count(*) = 0 FROM pg_stat_activity
     WHERE application_name = 'order-runtime' AND xact_start IS NOT NULL AND datname = current_database()";

/// Waits for [`ALL_ENDED`], for less time than the server takes to end an idle transaction itself.
async fn all_ended(db: &Client) {
    tokio::time::timeout(Duration::from_secs(5), until(db, ALL_ENDED)).await.expect("no transaction is left open");
}

/// Changes with a record to publish, which is written near the end of the transaction.
fn publishing(mut changes: Changes) -> Changes {
    let record = OutgoingRecord {
        topic: "topic".into(),
        partition: None,
        key: None,
        payload: None,
        headers: HeaderBlock::default(),
        timestamp: None,
    };
    changes.outbox.push(OutboxRecord { source_offset: changes.from, record: Arc::new(record) });
    changes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_dropped_half_way_is_never_applied() {
    let url = or_skip!(database().await);
    let store = Arc::new(open(&url).await);
    let (dropped, next) = (begun(&*store, 0).await, begun(&*store, 1).await);
    let db = session(&url).await;
    db.batch_execute("BEGIN; LOCK TABLE outbox IN EXCLUSIVE MODE").await.expect("a lock");
    let committing = tokio::spawn({
        let changes = publishing(step(&dropped, 0, 0).writing(vec![counter_change("dropped", 1, 0)]));
        let store = Arc::clone(&store);
        async move { store.commit(vec![Arc::new(changes)]).await }
    });
    until(&session(&url).await, &waiting_for_locks(1)).await;
    // Its position and its entity are written, but not committed.
    committing.abort();
    assert!(committing.await.expect_err("it is aborted").is_cancelled());
    db.batch_execute("ROLLBACK").await.expect("its end");

    let written = step(&next, 0, 0).writing(vec![counter_change("next", 2, 0)]);
    assert_eq!(commit(&*store, written).await, Committed::Applied { revision: 1 });
    all_ended(&db).await;
    assert_eq!(
        numbers(&*store, &["dropped", "next"]).await,
        [("next".into(), 2)],
        "the dropped changes are not part of the next commit"
    );
    assert_eq!(place(&*store, &dropped).await, (0, 0));
    assert_eq!(outbox(&*store, 0, 10).await, []);
    let again = step(&dropped, 0, 0).writing(vec![counter_change("dropped", 1, 0)]);
    assert_eq!(commit(&*store, again).await, Committed::Applied { revision: 1 }, "the dropped commit holds no lock");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_dropped_half_way_leaves_no_transaction() {
    let url = or_skip!(database().await);
    let store = Arc::new(open(&url).await);
    let known = begun(&*store, 0).await;
    let db = session(&url).await;
    db.batch_execute("BEGIN; LOCK TABLE positions").await.expect("a lock");
    let asking = tokio::spawn({
        let (store, known) = (Arc::clone(&store), known.clone());
        async move { store.reload(&known).await }
    });
    until(&session(&url).await, &waiting_for_locks(1)).await;
    asking.abort();
    assert!(asking.await.expect_err("it is aborted").is_cancelled());
    db.batch_execute("ROLLBACK").await.expect("its end");
    all_ended(&db).await;
    assert_eq!(place(&*store, &known).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_do_not_both_rely_on_the_absence_of_a_row_that_the_other_inserts() {
    let url = or_skip!(database().await);
    let stores = [Arc::new(open(&url).await), Arc::new(open(&url).await)];
    let partitions = [begun(&*stores[0], 0).await, begun(&*stores[1], 1).await];
    let db = session(&url).await;
    // Both have compared the rows that they have read, and neither has committed.
    db.batch_execute("BEGIN; LOCK TABLE outbox IN EXCLUSIVE MODE").await.expect("a lock");
    let mut committing = Vec::new();
    for (number, (reads, writes)) in [("b", "a"), ("a", "b")].into_iter().enumerate() {
        let changes = step(&partitions[number], 0, 0).reading(reads, 0).writing(vec![counter_change(writes, 1, 0)]);
        let store = Arc::clone(&stores[number]);
        committing.push(tokio::spawn(async move { commit(&*store, publishing(changes)).await }));
    }
    until(&session(&url).await, &waiting_for_locks(2)).await;
    db.batch_execute("ROLLBACK").await.expect("its end");
    let mut answers = Vec::new();
    for committing in committing {
        answers.push(tokio::time::timeout(LIMIT, committing).await.expect("in time").expect("no panic"));
    }
    answers.sort_unstable_by_key(|answer| *answer == Committed::Conflict);
    assert_eq!(answers, [Committed::Applied { revision: 1 }, Committed::Conflict]);
    assert_eq!(numbers(&*stores[0], &["a", "b"]).await.len(), 1, "one commit was first, and the other conflicts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_rely_on_absences_never_deadlock() {
    const RACERS: usize = 4;
    const ROUNDS: usize = 20;
    let url = or_skip!(database().await);
    let mut racers = Vec::new();
    for racer in 0..RACERS {
        let store: Arc<PostgresStore> = Arc::new(open(&url).await);
        let partition = begun(&*store, i32::try_from(racer).expect("small")).await;
        racers.push(tokio::spawn(async move {
            let mut applied = Vec::new();
            for round in 0..ROUNDS {
                let (offset, revision) = place(&*store, &partition).await;
                // Each relies on the absence of the row that the next racer inserts, and of other rows, in its own order.
                let mut changes =
                    step(&partition, offset, revision).reading(&format!("{round}-{}", (racer + 1) % RACERS), 0);
                let mut others: Vec<usize> = (0..30).collect();
                others.rotate_left(racer * 7);
                for other in others {
                    changes = changes.reading(&format!("nobody-{other}"), 0);
                }
                let written = vec![counter_change(&format!("{round}-{racer}"), 1, 0)];
                match commit(&*store, changes.writing(written)).await {
                    Committed::Applied { .. } => applied.push(round),
                    other => assert_eq!(other, Committed::Conflict),
                }
            }
            applied
        }));
    }
    let mut winners = vec![0; ROUNDS];
    for racer in racers {
        let applied = tokio::time::timeout(LIMIT * 3, racer).await.expect("in time").expect("no deadlock");
        for round in applied {
            winners[round] += 1;
        }
    }
    // In a circle, the last racer finds a row on whose absence it relies.
    assert!(winners.iter().all(|winners| (1..RACERS).contains(winners)), "{winners:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_owner_does_not_mark_an_event_as_running_alone() {
    let url = or_skip!(database().await);
    let store = Arc::new(open(&url).await);
    let known = begun(&*store, 0).await;
    let assignment = store.reload(&known).await.expect("an answer").expect("a position").assignment;
    let db = session(&url).await;
    // Another instance is about to be assigned the partition.
    db.batch_execute("BEGIN; UPDATE positions SET assignment = assignment + 1").await.expect("a lock");
    let marking = tokio::spawn({
        let (store, known) = (Arc::clone(&store), known.clone());
        async move { store.runs_alone(&known, assignment, Some(3)).await }
    });
    until(&session(&url).await, &waiting_for_locks(1)).await;
    db.batch_execute("COMMIT").await.expect("its end");
    assert_eq!(marking.await.expect("no panic").expect("an answer"), 0);
    let suspects = store.reload(&known).await.expect("an answer").expect("a position").suspects;
    assert_eq!(suspects, [], "no event is a suspect");
}
