//! Replays of ranges, beside an engine that has already consumed all or part of them.

use std::collections::VecDeque;

use futures_util::FutureExt as _;
use serde_json::json;

use super::*;
use crate::{
    broker::{Consumer as _, memory::MemoryBroker},
    engine::tests::{
        event_log::Sink,
        rig::{Rig, partition, registry, settings},
    },
    identity::{DedupWindow, EventOutcome},
    store::{EntityType, conformance::fixture::Counter},
};

/// Records of partition 0 from an offset on.
struct Records(VecDeque<(i64, Vec<u8>, Vec<u8>)>);

impl RecordSource for Records {
    fn next_record(&mut self) -> Result<Option<(i32, RecordBatch)>, String> {
        Ok(self.0.pop_front().map(|(offset, key, payload)| {
            let mut batch = RecordBatch::default();
            batch.push(offset, Some(offset), Some(&key), Some(&payload), []);
            (0, batch)
        }))
    }
}

/// An event as a producer writes it: name, key, number to add, and the processor's next step. The n-th event has the id `e-n`.
type Written<'a> = (&'a str, &'a str, i64, &'a str);

fn payload(number: usize, (name, key, add, then): Written<'_>) -> String {
    json!({"eventId": format!("e-{number}"), "eventName": name, "data": {"id": key, "add": add, "then": then}})
        .to_string()
}

/// Appends these events and waits until the engine has settled them.
async fn produced(rig: &Rig, events: &[Written<'_>]) {
    for (number, event) in events.iter().enumerate() {
        rig.broker.append(&partition(), Some(event.1), &payload(number, *event), &[]);
    }
    rig.settled().await;
}

async fn replay(
    rig: &Rig,
    events: &[Written<'_>],
    from: usize,
    shadow: bool,
    without: &[&str],
) -> Result<Report, ReplayError> {
    let offset = |number: usize| i64::try_from(number).expect("few");
    let records = events.iter().enumerate().skip(from);
    let records = records.map(|(number, event)| (offset(number), event.1.into(), payload(number, *event).into()));
    let replay = RangeReplay {
        registry: registry(without),
        entities: vec![EntityType::of::<Counter>()],
        settings: settings(),
        store: Arc::clone(&rig.store),
        ranges: vec![Range { id: partition(), from: offset(from), to: offset(events.len()) }],
        shadow,
    };
    replay.run(Records(records.collect()), |_| {}).await
}

#[tokio::test]
async fn events_that_the_store_knows_are_repeats_and_the_others_count_once() {
    let events =
        [("Added", "a", 1, ""), ("Added", "b", 2, "reject"), ("Added", "a", 3, ""), ("Added", "c", 4, "fail_once")];
    let rig = Rig::start().await;
    produced(&rig, &events[..2]).await;
    let before = rig.store.positions().await.expect("memory answers");

    let report = replay(&rig, &events, 0, false, &[]).await.expect("it finishes");
    assert_eq!((report.records, report.handled, report.skipped, report.dead_lettered), (4, 2, 2, 0));
    assert_eq!((rig.counter("a").await, rig.counter("c").await), (Some((13, 2)), Some((4, 1))));
    assert_eq!(rig.store.reload(&partition()).await.expect("memory answers").map(|at| at.next_offset), Some(2));
    let after = rig.store.positions().await.expect("memory answers");
    assert!(before.iter().all(|position| after.contains(position)), "no position of the service has moved");

    // The service consumes the same records.
    for (number, event) in events.iter().enumerate().skip(2) {
        rig.broker.append(&partition(), Some(event.1), &payload(number, *event), &[]);
    }
    rig.settled().await;
    assert_eq!((rig.counter("a").await, rig.counter("c").await), (Some((13, 2)), Some((4, 1))), "each counts once");
    let again = replay(&rig, &events, 0, false, &[]).await.expect("it finishes");
    assert_eq!((again.handled, again.skipped), (0, 4));
}

/// A key's window remembers its last 512 events. Whether an older event was applied is unknown.
#[tokio::test]
async fn events_that_may_have_been_forgotten_do_not_count_again() {
    let events = vec![("Added", "a", 0, ""); DedupWindow::CAPACITY + 8];
    let rig = Rig::start().await;
    produced(&rig, &events).await;
    let before = rig.counter("a").await;
    let error = replay(&rig, &events, 0, false, &[]).await.expect_err("the first eight are forgotten");
    assert!(error.to_string().contains("whether the store has already had the event e-"), "{error}");
    let known = replay(&rig, &events, 8, false, &[]).await.expect("the others are known");
    assert_eq!((known.handled, known.skipped), (0, DedupWindow::CAPACITY as u64));
    assert_eq!(rig.counter("a").await, before);
}

#[tokio::test]
async fn the_service_publishes_dead_letters_of_a_replay() {
    let events = [("Added", "a", 1, ""), ("Added", "b", 2, "reject")];
    let rig = Rig::start().await;
    let report = replay(&rig, &events, 0, false, &[]).await.expect("it finishes");
    assert_eq!((report.handled, report.dead_lettered), (1, 1));
    // The service's own dead letter makes its relay publish both.
    rig.send("Added", "d", 1, "reject");
    let letters = rig.dead_letters(2).await;
    let from = |letter: &OutgoingRecord| crate::engine::tests::rig::header(letter, "dlq-topic");
    assert!(letters.iter().all(|letter| from(letter) == "things"), "it names the topic that it came from");
}

#[tokio::test]
async fn a_shadow_of_everything_runs_as_for_the_first_time_and_changes_nothing() {
    let events =
        [("Added", "a", 1, ""), ("Patient", "b", 2, ""), ("Added", "a", 3, "reject"), ("Added", "a", 4, "skip")];
    let rig = Rig::start().await;
    produced(&rig, &events).await;
    let same = replay(&rig, &events, 0, true, &[]).await.expect("it finishes");
    assert_eq!((same.same, same.unknown, same.different.len()), (4, 0, 0), "{same:?}");

    // A build without one of the processors.
    let other = replay(&rig, &events, 0, true, &["Patient"]).await.expect("it finishes");
    assert_eq!((other.same, other.handled, other.dead_lettered), (3, 1, 2));
    assert_eq!(
        other.different.into_iter().collect::<Vec<_>>(),
        [("was handled, would be dead_lettered".to_owned(), 1)]
    );
    let example = &other.examples[0];
    assert_eq!((&*example.event_id, &*example.error_code), ("e-1", "unknown_event"));
    assert_eq!((example.was, example.would_be), (EventOutcome::Handled, EventOutcome::DeadLettered));

    assert_eq!(rig.counter("a").await, Some((1, 1)));
    assert_eq!(rig.store.positions().await.expect("memory answers"), [(partition(), 4)]);
    assert_eq!(rig.broker.published().len(), 1, "a shadow publishes no dead letters");
}

#[tokio::test]
async fn a_shadow_logs_no_warnings() {
    let events = [("Added", "quiet-1", 1, "reject"), ("Added", "quiet-2", 2, "panic")];
    let rig = Rig::start().await;
    produced(&rig, &events).await;
    let _guard = Sink::listen();
    let report = replay(&rig, &events, 0, true, &[]).await.expect("it finishes");
    assert_eq!(report.dead_lettered, 2, "the report has them");
    let lines = Sink::lines();
    assert!(lines.iter().any(|line| line["message"] == "partition assigned"), "{lines:?}");
    let warned: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
    assert!(warned.is_empty(), "{warned:?}");
}

#[tokio::test]
async fn a_shadow_of_a_later_range_runs_unhandled_events_on_the_current_store() {
    let events = [
        ("Added", "z", 1, ""),
        ("Added", "a", 1, "reject_if_new"),
        ("Added", "a", 2, ""),
        ("Added", "a", 3, ""),
        ("Parked", "p", 1, "park"),
    ];
    let rig = Rig::start().await;
    produced(&rig, &events[..3]).await;
    let report = replay(&rig, &events, 1, true, &[]).await.expect("it finishes");
    assert_eq!(
        report.different.into_iter().collect::<Vec<_>>(),
        [("was dead_lettered, would be handled".to_owned(), 1)]
    );
    assert_eq!((report.handled, report.skipped, report.unknown, report.held), (2, 1, 1, 1));
    assert_eq!(rig.counter("a").await, Some((2, 1)), "the store is unchanged");
}

#[tokio::test]
async fn a_read_error_ends_the_replay() {
    struct Broken;
    impl RecordSource for Broken {
        fn next_record(&mut self) -> Result<Option<(i32, RecordBatch)>, String> {
            Err("no broker answers".to_owned())
        }
    }
    let replay = RangeReplay {
        registry: registry(&[]),
        entities: Vec::new(),
        settings: settings(),
        store: Arc::new(crate::store::memory::MemoryStore::default()),
        ranges: vec![Range { id: MemoryBroker::partition(0), from: 0, to: 5 }],
        shadow: true,
    };
    let error = replay.run(Broken, |_| {}).await.expect_err("records cannot be read");
    assert_eq!(error.to_string(), "the range cannot be read: no broker answers");
}

#[tokio::test]
async fn a_consumer_seeks_back_to_uncommitted_records() {
    let (events, _) = mpsc::unbounded_channel();
    let range = Range { id: partition(), from: 3, to: 9 };
    let consumer = RangeConsumer::new(&[range], events);
    let records = (3..9).map(|offset| (offset, b"k".to_vec(), b"v".to_vec())).collect();
    consumer.fill(Records(records));
    while !consumer.is_read() {
        tokio::task::yield_now().await;
    }
    let offsets = |batch: RecordBatch| batch.iter().map(|record| record.offset).collect::<Vec<_>>();
    assert_eq!(offsets(consumer.take(&partition(), 4, usize::MAX)), [3, 4, 5, 6]);
    consumer.store_offset(&partition(), 5, "");
    consumer.seek(&partition(), 5);
    assert_eq!(offsets(consumer.take(&partition(), 9, usize::MAX)), [5, 6, 7, 8]);
    consumer.seek(&partition(), 7);
    consumer.pause(&partition());
    assert_eq!(offsets(consumer.take(&partition(), 9, usize::MAX)), [0; 0]);
    consumer.resume(&partition());
    assert_eq!(offsets(consumer.take(&partition(), 9, usize::MAX)), [7, 8]);
    assert_eq!(consumer.inbox_status(&partition()).map(|inbox_status| inbox_status.log_end), Some(9));
    assert!(consumer.offers()[0].ready.notified().now_or_never().is_some());
}
