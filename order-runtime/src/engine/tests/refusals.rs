//! Data that the store refuses: only the event that wrote it becomes a dead letter.

use std::{sync::Arc, time::Duration};

use super::rig::{Rig, header, partition};
use crate::{
    model::OutgoingRecord,
    store::{
        Change, Changes, Committed,
        conformance::fixture::{Counter, sqlite},
    },
};

/// Makes the counter negative whatever was added before, which violates a constraint of its table.
const REFUSED: i64 = -1_000_000_000;

#[track_caller]
fn is_only_letter(letters: &[OutgoingRecord], event: &str) {
    let reported: Vec<_> =
        letters.iter().map(|letter| (header(letter, "dlq-event-id"), header(letter, "dlq-error-code"))).collect();
    assert_eq!(reported, [(event.to_owned(), "store_refused".to_owned())]);
}

/// A rig on SQLite without a partition.
async fn on_sqlite(folder: &tempfile::TempDir) -> Rig {
    Rig::start_on(Arc::new(sqlite(&folder.path().join("store.db")))).await
}

#[tokio::test]
async fn events_before_a_refused_one_of_their_waiting_key_are_handled() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = on_sqlite(&folder).await;
    // The first event makes the key wait; then all its events are due at once.
    rig.send("Added", "a", 1, "fail_once");
    for _ in 0..4 {
        rig.send("Added", "a", 1, "");
    }
    let refused = rig.send("Added", "a", REFUSED, "");
    rig.send("Added", "a", 7, "");
    rig.broker.assign(&[partition()]).await;
    rig.settled().await;
    is_only_letter(&rig.dead_letters(1).await, &refused);
    assert_eq!(rig.counter("a").await, Some((111_117, 6)));
}

#[tokio::test]
async fn an_attempt_that_ends_while_events_run_alone_takes_no_follower_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = on_sqlite(&folder).await;
    rig.send("Added", "a", 1, "dawdle");
    let refused = rig.send("Added", "a", REFUSED, "");
    rig.send("Added", "a", 3, "");
    rig.send("Added", "b", 5, "");
    rig.broker.assign(&[partition()]).await;
    rig.settled().await;
    is_only_letter(&rig.dead_letters(1).await, &refused);
    assert_eq!((rig.counter("a").await, rig.counter("b").await), (Some((13, 2)), Some((5, 1))));
}

/// Whether the changes write the counter `id`.
fn writes(changes: &[Arc<Changes>], id: &str) -> bool {
    let written = changes.iter().flat_map(|each| &each.entities);
    let mut counters = written.filter_map(|(_, written)| written.downcast_ref::<Vec<Change<Counter>>>()).flatten();
    counters.any(|change| change.id() == id)
}

#[tokio::test]
async fn an_event_of_another_key_that_is_due_meanwhile_is_not_blamed() {
    let (rig, gate) = Rig::behind_a_gate().await;
    gate.answer_commits(|changes| {
        writes(changes, "refused").then(|| {
            // When the answer arrives, the other key is due.
            std::thread::sleep(Duration::from_millis(60));
            Ok(vec![Committed::Refused("requested by the test".to_owned())])
        })
    });
    rig.send("Added", "other", 1, "fail_once");
    let refused = rig.send("Added", "refused", 1, "");
    rig.settled().await;
    is_only_letter(&rig.dead_letters(1).await, &refused);
    assert_eq!(rig.counter("other").await, Some((1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_dead_letter_is_retried_and_no_other_event_is_blamed() {
    let (rig, gate) = Rig::behind_a_gate().await;
    let mut refusals = 0;
    gate.answer_commits(move |changes| {
        let is_letter = changes.iter().any(|each| !each.dead_letters.is_empty());
        let refuses = writes(changes, "refused") || (is_letter && refusals < 5);
        refusals += u32::from(refuses && is_letter);
        refuses.then(|| Ok(vec![Committed::Refused("requested by the test".to_owned())]))
    });
    let refused = rig.send("Added", "refused", 1, "");
    rig.send("Added", "other", 2, "");
    rig.settled().await;
    is_only_letter(&rig.dead_letters(1).await, &refused);
    assert_eq!(rig.counter("other").await, Some((2, 1)));
}

/// A slow event is committed as running before it is committed as handled, so the quarantine must not end after two commits.
#[tokio::test]
async fn a_refused_event_behind_a_slow_one_of_its_waiting_key_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = on_sqlite(&folder).await;
    rig.send("Added", "a", 1, "fail_once");
    rig.send("Added", "a", 2, "dawdle");
    let refused = rig.send("Added", "a", REFUSED, "");
    rig.send("Added", "a", 4, "");
    for number in 0..3 {
        rig.send("Added", &format!("neighbour-{number}"), 1, "");
    }
    rig.broker.assign(&[partition()]).await;
    rig.settled().await;
    is_only_letter(&rig.dead_letters(1).await, &refused);
    assert_eq!(rig.counter("a").await, Some((124, 3)));
}
