//! Replaying letters to their topic.

use super::*;
use crate::{
    broker::TopicState,
    dead_letters::{
        Filter,
        replay::{BATCH, LeftOut},
        state::Defect,
    },
    identity::{DedupEntry, DedupWindow, EventOutcome, Fingerprint, payload_hash, window_key_of},
    model::PartitionId,
    store::{DeadLetterRow, DedupRow, conformance::fixture::step},
};

/// The numbers of the letters that were published.
fn sent(topic: &Topic) -> Vec<u32> {
    let number = |record: &OutgoingRecord| {
        let id = std::str::from_utf8(record.headers.get("dlq-id").expect("its id")).expect("text");
        u32::from_str_radix(id, 16).expect("a number")
    };
    topic.taken.lock().iter().map(number).collect()
}

fn left_out(summary: &Summary) -> Vec<(LeftOut, u64)> {
    summary.left_out.iter().map(|(why, count)| (*why, *count)).collect()
}

#[tokio::test]
async fn a_letter_that_its_topic_refuses_does_not_end_the_replay() {
    let letters = (1..=3).map(|n| letter(n, "rejected", 0)).collect();
    let (service, topic) = (service(letters), Topic::default());
    *topic.refuses.lock() = Some(id(2));
    let summary = replay_all(&service, &topic).await;
    assert_eq!((summary.replayed, left_out(&summary)), (2, vec![(LeftOut::Refused, 1)]));
    assert_eq!(sent(&topic), [1, 3]);
}

#[tokio::test]
async fn a_replay_sends_the_record_to_its_original_partition() {
    let (service, topic) = (service(vec![letter(1, "rejected", 0)]), Topic::default());
    assert_eq!(replay_all(&service, &topic).await.replayed, 1);
    let taken = topic.taken.lock();
    let expected = OutgoingRecord {
        topic: "things".into(),
        partition: Some(3),
        ..record(r#"{"eventId": "e-1", "eventName": "Added", "data": {"n": 1}}"#, &[("trace", "t"), ("dlq-id", &id(1))])
    };
    assert_eq!(*taken, [expected]);
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let letters = vec![letter(1, "rejected", 0), letter(2, "invalid", 0), letter(3, "rejected", 0)];
    let service = service(letters);
    let how = LetterReplay { dry_run: true, ..LetterReplay::default() };
    for _ in 0..2 {
        let summary = count(&service, LetterSelection::default(), &how).await;
        let groups: Vec<_> = summary.counts.rows().collect();
        assert_eq!(groups, [("invalid", "Added", "told_to", 1), ("rejected", "Added", "told_to", 2)]);
        assert!(summary.dry_run && summary.replayed == 3);
    }
    assert_eq!(service.audit(10).await.expect("an answer"), []);
}

#[tokio::test]
async fn conditions_maximum_and_ids_limit_a_replay() {
    let letters = (1..=6).map(|number| letter(number, if number % 2 == 0 { "even" } else { "odd" }, 0)).collect();
    let (service, topic) = (service(letters), Topic::default());
    let even = LetterSelection {
        filter: Filter { reason: Some("even".to_owned()), ..Filter::default() },
        ..LetterSelection::default()
    };
    let capped = LetterReplay { max: Some(2), ..LetterReplay::default() };
    replay(&service, &topic, even, capped).await.expect("a replay");
    assert_eq!(sent(&topic), [2, 4]);
    replay(&service, &topic, named(&[5]), LetterReplay::default()).await.expect("a replay");
    assert_eq!(sent(&topic), [2, 4, 5]);
    let rest = replay_all(&service, &topic).await;
    assert_eq!(sent(&topic), [2, 4, 5, 1, 3, 6], "a replayed letter is not replayed again");
    assert_eq!(left_out(&rest), [(LeftOut::Replayed, 3)]);
    let again = LetterReplay { again: true, ..LetterReplay::default() };
    assert_eq!(replay(&service, &topic, named(&[2]), again).await.expect("a replay").replayed, 1);

    let audit = service.audit(10).await.expect("an answer");
    let counts: Vec<_> = audit.iter().map(|row| (&*row.action, &*row.by, row.letters)).collect();
    assert_eq!(counts, [1, 3, 1, 2].map(|letters| ("replay", "somebody", letters)));
    assert!(audit[3].selection.contains(r#""reason":"even""#) && audit[3].selection.contains(r#""max":2"#));
}

#[tokio::test]
async fn an_interrupted_replay_continues_after_the_acknowledged_letters() {
    let count = BATCH + 100;
    let letters = (0..u32::try_from(count).expect("few")).map(|number| letter(number, "rejected", 0)).collect();
    let (service, topic) = (service(letters), Topic::default());
    *topic.limit.lock() = Some(BATCH + 10);
    let error =
        replay(&service, &topic, LetterSelection::default(), LetterReplay::default()).await.expect_err("no broker");
    assert!(
        matches!(error, DeadLetterError::Publish(_)) && error.to_string().contains("continues from here"),
        "{error}"
    );
    *topic.limit.lock() = None;
    let rest = replay_all(&service, &topic).await;
    assert_eq!((rest.replayed, sent(&topic).len()), (90, count), "no letter twice, no letter lost");
    assert!(topic.batches.lock().iter().all(|batch| *batch <= BATCH));
    let letters: u64 = service.audit(10).await.expect("an answer").iter().map(|row| row.letters).sum();
    assert_eq!(letters, count as u64);
}

#[tokio::test]
async fn a_stop_ends_it_after_a_batch() {
    let service = service((0..1_000).map(|number| letter(number, "rejected", 0)).collect());
    let (topic, stop) = (Topic::default(), CancellationToken::new());
    let progress = |summary: &Summary, _, _| {
        if summary.replayed > 0 {
            stop.cancel();
        }
    };
    let summary = service.replay(&topic, "somebody", &LetterReplay::default(), &stop, progress).await;
    let replayed = summary.expect("a replay").replayed;
    assert!((1..=BATCH as u64).contains(&replayed), "{replayed}");
    assert_eq!(replay_all(&service, &topic).await.replayed, 1_000 - replayed);
}

#[tokio::test]
async fn a_letter_that_fails_every_replay_is_left_out() {
    let (service, topic) = (service(vec![letter(1, "rejected", 4), letter(2, "rejected", 5)]), Topic::default());
    let summary = replay_all(&service, &topic).await;
    assert_eq!((sent(&topic), left_out(&summary)), (vec![1], vec![(LeftOut::LoopGuard, 1)]));
    let patient = LetterReplay { max_replays: 6, ..LetterReplay::default() };
    assert_eq!(replay(&service, &topic, named(&[2]), patient).await.expect("a replay").replayed, 1);
}

#[tokio::test]
async fn records_that_are_repeated_or_failed_again_are_one_letter() {
    let once = letter(1, "rejected", 0);
    let (service, topic) = (service(vec![once.clone(), once, letter(1, "rejected", 1)]), Topic::default());
    remember(&service, DeadLetterRow { replays: 1, ..row(1) }, EventOutcome::DeadLettered).await;
    let summary = replay_all(&service, &topic).await;
    assert_eq!((summary.replayed, left_out(&summary)), (1, vec![(LeftOut::Superseded, 1)]));
}

#[tokio::test]
async fn a_letter_whose_event_was_settled_since_is_not_sent() {
    let (service, topic) = (service(vec![letter(1, "rejected", 0)]), Topic::default());
    remember(&service, row(1), EventOutcome::Handled).await;
    let summary = replay_all(&service, &topic).await;
    assert_eq!((summary.replayed, left_out(&summary)), (0, vec![(LeftOut::SettledSince, 1)]));
}

#[tokio::test]
async fn only_intact_letters_of_own_topics_are_sent() {
    let without = |name: &str| {
        let mut broken = letter(1, "rejected", 0);
        broken.headers.retain(|known| known != name.as_bytes());
        broken
    };
    let with = |name: &str, value: &str| {
        let mut changed = without(name);
        changed.headers.push(name, Some(value.as_bytes()));
        changed
    };
    let defective = LeftOut::Defective;
    for (record, expected) in [
        (with("dlq-topic", "more-things"), None),
        (with("dlq-topic", "elsewhere"), Some(defective(Defect::ForeignTopic))),
        (with("dlq-topic", "^more-.*"), Some(defective(Defect::ForeignTopic))),
        (without("dlq-topic"), Some(defective(Defect::Damaged))),
        (without("dlq-partition"), Some(defective(Defect::Damaged))),
        (with("dlq-partition", "-1"), Some(defective(Defect::Damaged))),
        (with("dlq-partition", "4294967296"), Some(defective(Defect::Damaged))),
        (without("dlq-offset"), Some(defective(Defect::Damaged))),
        (with("dlq-offset", "x"), Some(defective(Defect::Damaged))),
        (with("dlq-id", "short"), Some(defective(Defect::Damaged))),
        (with("dlq-id", &"g".repeat(32)), Some(defective(Defect::Damaged))),
        (without("dlq-id"), Some(defective(Defect::NoLetter))),
        (record("{}", &[]), Some(defective(Defect::NoLetter))),
        (with("dlq-replays", "many"), None),
    ] {
        let shown = format!("{:?}", record.headers);
        let (service, topic) = (service(vec![record]), Topic::default());
        let summary = replay_all(&service, &topic).await;
        assert_eq!(summary.left_out.keys().next().copied(), expected, "{shown}");
        assert_eq!(topic.taken.lock().len(), usize::from(expected.is_none()), "{shown}");
    }
    let (service, topic) = (service(vec![letter(1, "rejected", 0)]), Topic::default());
    remember(&service, DeadLetterRow { hash: 7, ..row(1) }, EventOutcome::DeadLettered).await;
    assert_eq!(left_out(&replay_all(&service, &topic).await), [(defective(Defect::Altered), 1)]);
    let text = serde_json::to_string(&replay_all(&service, &topic).await).expect("JSON");
    assert!(text.contains(r#""leftOut":{"altered":1}"#), "{text}");
}

#[tokio::test]
async fn letters_of_other_frameworks_go_back_too() {
    let event = |id: &str| format!(r#"{{{id}"eventName": "Added", "data": {{}}}}"#);
    let spring = |payload: String| {
        let mut spring = record(&payload, &[("trace", "t"), ("kafka_dlt-original-topic", "things")]);
        spring.headers.push("kafka_dlt-original-partition", Some(&0_i32.to_be_bytes()));
        spring.headers.push("kafka_dlt-original-offset", Some(&5_i64.to_be_bytes()));
        spring
    };
    let connect = record(&event(""), &[("__connect.errors.topic", "things"), ("__connect.errors.partition", "1")]);
    let wolverine = record(&event(""), &[("exception-type", "Boom"), ("destination", "kafka://topic/things")]);
    let letters = vec![spring(event(r#""eventId": "e-1", "#)), spring(event("")), connect, wolverine];
    let (service, topic) = (service(letters), Topic::default());
    // The service has read the first six records of partition 0.
    let things = PartitionId { topic: "things".into(), ..partition(0) };
    service.store().expect("a store").begin(&things, 6).await.expect("a position");

    let summary = replay_all(&service, &topic).await;
    assert_eq!((summary.replayed, summary.without_id), (3, 2));
    assert_eq!(left_out(&summary), [(LeftOut::HadBefore, 1)]);
    let taken = topic.taken.lock().clone();
    let places: Vec<_> = taken.iter().map(|record| (&*record.topic, record.partition, record.headers.len())).collect();
    assert_eq!(places[..2], [("things", Some(0), 1), ("things", Some(1), 0)], "dead-letter headers are removed");
    assert_eq!((places[2].0, places[2].1), ("things", None), "Wolverine does not store the partition");
    assert_eq!(replay_all(&service, &topic).await.replayed, 0, "they are marked by their derived ids");
}

/// A recreated topic has other offsets: a position in the former topic does not apply to it.
#[tokio::test]
async fn a_record_counts_as_read_by_the_id_of_its_topic() {
    let letter = |offset: i64| {
        let payload = br#"{"eventName": "Added", "data": {}}"#;
        let mut spring = OutgoingRecord {
            payload: Some(payload.to_vec().into()),
            ..record("", &[("kafka_dlt-original-topic", "things")])
        };
        spring.headers.push("kafka_dlt-original-partition", Some(&0_i32.to_be_bytes()));
        spring.headers.push("kafka_dlt-original-offset", Some(&offset.to_be_bytes()));
        spring
    };
    let things = PartitionId { topic: "things".into(), ..partition(0) };
    let former = PartitionId { topic_id: uuid::Uuid::from_u128(99), ..things.clone() };
    let elsewhere = PartitionId { cluster: "elsewhere".into(), ..things.clone() };
    for first in [[&things, &former, &elsewhere], [&elsewhere, &former, &things]] {
        let (service, topic) = (service(vec![letter(5), letter(6)]), Topic::default());
        for id in first {
            let position = if *id == things { 6 } else { 1_000 };
            service.store().expect("a store").begin(id, position).await.expect("a position");
        }
        let summary = replay_all(&service, &topic).await;
        assert_eq!((summary.replayed, left_out(&summary)), (1, vec![(LeftOut::HadBefore, 1)]));
    }
}

#[tokio::test]
async fn a_letter_whose_partition_was_removed_goes_by_its_key_and_blocks_no_other() {
    let mut of_partition_1 = letter(2, "rejected", 0);
    of_partition_1.headers.retain(|name| name != b"dlq-partition");
    of_partition_1.headers.push("dlq-partition", Some(b"1"));
    let now = TopicState::Exists { id: partition(0).topic_id, partitions: 2 };
    let service = service_of_changed(vec![letter(1, "rejected", 0), of_partition_1], now);
    let dry = count(&service, LetterSelection::default(), &LetterReplay::default()).await;
    assert_eq!((dry.replayed, dry.by_key), (2, 1));
    let topic = Topic::default();
    let summary = replay_all(&service, &topic).await;
    assert_eq!((summary.replayed, summary.by_key), (2, 1));
    let places: Vec<_> = topic.taken().iter().map(|record| record.partition).collect();
    assert_eq!(places, [None, Some(1)]);
    assert!(serde_json::to_string(&summary).expect("JSON").contains(r#""byKey":1"#));
}

#[tokio::test]
async fn a_letter_whose_topic_was_deleted_is_left_out() {
    let (service, topic) = (service_of_changed(vec![letter(1, "rejected", 0)], TopicState::Absent), Topic::default());
    let summary = replay_all(&service, &topic).await;
    assert_eq!((summary.replayed, left_out(&summary)), (0, vec![(LeftOut::NoTopic, 1)]));
    assert!(topic.taken().is_empty());
}

#[tokio::test]
async fn a_correction_goes_where_a_replay_would_go() {
    let fewer = TopicState::Exists { id: partition(0).topic_id, partitions: 2 };
    let corrected = r#"{"eventName": "Added", "data": {"n": 7}}"#;
    for (now, sent) in [(fewer, Some(None)), (TopicState::Absent, None)] {
        let (service, topic) = (service_of_changed(vec![letter(1, "rejected", 0)], now), Topic::default());
        let edited = service.edit(&topic, "somebody", &id(1), None, corrected, false).await;
        assert_eq!(edited.is_ok(), sent.is_some(), "{edited:?}");
        assert_eq!(topic.taken().first().map(|record| record.partition), sent);
    }
}

/// The store's row of the letter with this number.
fn row(number: u32) -> DeadLetterRow {
    let letter = letter(number, "rejected", 0);
    DeadLetterRow {
        dlq_id: u128::from(number).into(),
        event_id: format!("e-{number}"),
        hash: payload_hash(letter.payload.as_deref()),
        replays: 0,
        reason: "rejected".into(),
        code: "told_to".into(),
        at: jiff::Timestamp::now(),
    }
}

/// Stores a letter's row, and the outcome of its event in the key's deduplication window.
async fn remember(service: &DeadLetterService, row: DeadLetterRow, outcome: EventOutcome) {
    let store = service.store().expect("a store");
    let partition = partition(0);
    store.begin(&partition, 0).await.expect("a position");
    let mut window = DedupWindow::default();
    let print = Fingerprint::Payload(row.hash);
    window.push(&DedupEntry { id: row.event_id.as_str().into(), print, outcome, name: "Added", at: row.at });
    let mut changes = step(&partition, 0, 0);
    changes.windows.push(DedupRow { key: window_key_of(b"key"), version: 0, bytes: window.as_bytes().to_vec() });
    changes.dead_letters.push(row.clone().into());
    store.commit(vec![Arc::new(changes)]).await.expect("a commit");
}
