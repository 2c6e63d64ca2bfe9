//! Outages of the dead-letter topic and of the store, and data that the store refuses.

use std::{sync::Arc, time::Duration};

use super::rig::{Rig, header, partition};
use crate::{
    broker::{Consumer as _, PublishError, Start},
    engine::{observe::PartitionState, partition::BATCH_RECORDS},
    store::{
        OUTBOX_LIMIT, Outbox,
        conformance::fixture::{outbox, sqlite},
        memory::MemoryStore,
    },
};

fn away() -> PublishError {
    PublishError::Transient { topic: "things-dlq".to_owned(), reason: "offline".to_owned() }
}

fn missing() -> PublishError {
    PublishError::Refused { topic: "things-dlq".to_owned(), reason: "there is no such topic".to_owned() }
}

#[tokio::test]
async fn dead_letters_stay_in_the_store_while_their_topic_is_unavailable() {
    for outage in [away(), missing()] {
        let rig = Rig::start().await;
        rig.broker.begin_outage(outage);
        rig.send("Added", "a", 1, "reject");
        rig.send("Added", "b", 2, "");
        rig.until("it is reported", |rig| !rig.engine.operations().health().not_ready.is_empty()).await;
        let health = rig.engine.operations().health();
        assert!(health.not_ready[0].contains("does not take dead letters"), "{:?}", health.not_ready);
        assert_eq!(health.not_live, Vec::<String>::new(), "an outage of the broker does not fail liveness");
        rig.until("the good event", |rig| rig.stats().ok == 1).await;
        assert_eq!(rig.broker.published(), []);
        let Outbox::Rows(rows) = rig.store.outbox(0, 10).await.expect("memory answers") else { panic!("not its own") };
        assert_eq!(rows.len(), 1);

        rig.broker.end_outage();
        rig.dead_letters(1).await;
        rig.until("ready again", |rig| rig.engine.operations().health().not_ready.is_empty()).await;
    }
}

/// A slow event takes 150 ms in several steps; the timeout of an attempt is 400 ms.
#[tokio::test(start_paused = true)]
async fn a_store_that_is_silent_for_a_while_costs_no_attempt_that_is_under_way() {
    let (rig, gate) = Rig::behind_a_gate().await;
    rig.send("Added", "slow", 1, "dawdle");
    // By now the batch is committed without the slow event.
    tokio::time::sleep(Duration::from_millis(60)).await;
    gate.shut();
    rig.send("Added", "other", 1, "");
    tokio::time::sleep(Duration::from_secs(1)).await;
    gate.reopen();
    rig.settled().await;
    assert_eq!((rig.counter("slow").await, rig.stats().retried), (Some((1, 1)), 0));
}

#[tokio::test]
async fn bad_events_alone_fill_the_outbox_only_to_its_limit() {
    let rig = Rig::start().await;
    rig.broker.begin_outage(away());
    let limit = usize::try_from(OUTBOX_LIMIT).expect("small");
    let events = limit + 2 * BATCH_RECORDS;
    for number in 0..events {
        rig.broker.append(&partition(), Some(&number.to_string()), "{", &[]);
    }
    rig.until("it is full", |rig| rig.engine.operations().partitions()[0].state == PartitionState::Full).await;
    let taken = rig.stats().dead_lettered;
    assert!(taken > OUTBOX_LIMIT && taken <= OUTBOX_LIMIT + BATCH_RECORDS as u64, "{taken} of {events}");

    rig.broker.end_outage();
    rig.settled().await;
    assert_eq!(rig.stats().dead_lettered, events as u64);
    rig.until("all are published", |rig| rig.engine.operations().health().not_ready.is_empty()).await;
    rig.dead_letters(events).await;
}

#[tokio::test]
async fn a_full_partition_runs_again_without_a_new_record() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rig = Rig::start_on(Arc::new(sqlite(&folder.path().join("store.db")))).await;
    rig.broker.begin_outage(away());
    for number in 0..=OUTBOX_LIMIT {
        rig.broker.append(&partition(), Some(&number.to_string()), "{", &[]);
    }
    rig.broker.assign(&[partition()]).await;
    let state = |rig: &Rig| rig.engine.operations().partitions()[0].state;
    rig.until("it is full", |rig| state(rig) == PartitionState::Full).await;
    rig.broker.end_outage();
    rig.until("it runs again", |rig| state(rig) == PartitionState::Running).await;
}

#[tokio::test]
async fn dead_letters_of_any_size_are_published_in_batches_that_fit_in_memory() {
    const MEGABYTE: usize = 1_000_000;
    let rig = Rig::start().await;
    rig.broker.begin_outage(away());
    let payload = "x".repeat(MEGABYTE);
    for number in 0..60 {
        rig.broker.append(&partition(), Some(&number.to_string()), &payload, &[]);
    }
    rig.settled().await;
    rig.broker.end_outage();
    rig.dead_letters(60).await;
    assert!(rig.broker.largest_publish() < 30 * MEGABYTE, "{} bytes at once", rig.broker.largest_publish());
}

#[tokio::test]
async fn dead_letters_that_are_left_at_a_stop_are_published_at_the_next_start() {
    let store = Arc::new(MemoryStore::default());
    let first = Rig::start_on(Arc::clone(&store) as _).await;
    first.broker.assign(&[partition()]).await;
    first.broker.begin_outage(away());
    first.send("Added", "a", 1, "reject");
    first.until("the dead letter", |rig| rig.stats().dead_lettered == 1).await;
    first.broker.revoke(&[partition()], false).await;
    let started = tokio::time::Instant::now();
    first.engine.publish_rest(Duration::from_millis(300)).await;
    assert!(started.elapsed() < Duration::from_secs(5), "the stop does not wait for an unavailable broker");
    let left = outbox(&*store, 0, 10).await;
    assert_eq!(left.len(), 1);

    let second = Rig::start_on(store).await;
    let letters = second.dead_letters(1).await;
    assert_eq!(letters[0], *left[0].record, "the same dead letter with the same id");
}

#[tokio::test]
async fn a_lost_acknowledgement_repeats_a_dead_letter_under_its_id() {
    let rig = Rig::start().await;
    rig.broker.lose_answer();
    rig.send("Added", "a", 1, "reject");
    let letters = rig.dead_letters(2).await;
    assert_eq!(letters[0], letters[1], "the repeat is identical");
    assert_eq!(header(&letters[0], "dlq-id").len(), 32);
    rig.until("the outbox is empty", |rig| rig.engine.operations().health().not_ready.is_empty()).await;
    assert_eq!((rig.stats().dead_lettered, outbox(&*rig.store, 0, 10).await.len()), (1, 0), "it is one dead letter");
}

#[tokio::test]
async fn data_that_the_store_refuses_is_found_and_dead_lettered() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = Rig::start_on(Arc::new(sqlite(&folder.path().join("store.db")))).await;
    for number in 0..20 {
        rig.send("Added", &format!("good-{number}"), 1, "");
        if number == 7 {
            // This violates a constraint of the table.
            rig.send("Added", "bad", -1, "");
            rig.send("Added", "bad", 5, "");
        }
    }
    rig.broker.assign(&[partition()]).await;
    rig.settled().await;
    let letters = rig.dead_letters(1).await;
    assert_eq!(
        (header(&letters[0], "dlq-reason"), header(&letters[0], "dlq-error-code")),
        ("rejected".to_owned(), "store_refused".to_owned())
    );
    assert_eq!(rig.counter("bad").await, Some((5, 1)), "the next event of its key is applied");
    for number in 0..20 {
        assert_eq!(rig.counter(&format!("good-{number}")).await, Some((1, 1)));
    }
}

#[tokio::test]
async fn another_store_does_not_begin_at_the_committed_offset() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = |name: &str| Arc::new(sqlite(&folder.path().join(name)));
    let first = Rig::start_on(store("first.db")).await;
    first.broker.assign(&[partition()]).await;
    first.send("Added", "a", 1, "");
    first.settled().await;
    first.until("Kafka's offset", |rig| rig.broker.committed(&partition()).is_some()).await;
    let (offset, metadata) = first.broker.committed(&partition()).expect("committed");

    // The second store lacks the event ids of the first one, so it cannot recognise repeats.
    let second = Rig::start_on(store("second.db")).await;
    second.send("Added", "a", 1, "");
    second.broker.store_offset(&partition(), offset, &metadata);
    assert_eq!(second.broker.assign(&[partition()]).await, [Start::Paused]);
    let health = second.engine.operations().health();
    assert!(health.not_ready.iter().any(|reason| reason.contains("store")), "{:?}", health.not_ready);
    assert_eq!(second.stats().consumed, 0);
}
