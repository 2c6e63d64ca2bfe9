//! Corrections with a running engine: only one of a letter and its corrections counts.

use super::*;
use crate::{
    broker::memory::MemoryBroker,
    dead_letters::{EditError, Edited},
    engine::tests::rig::{Rig, header, partition},
};

/// Appends published records to the partition that the engine reads.
struct Republished(Arc<MemoryBroker>);

#[async_trait]
impl Publisher for Republished {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        let append = |record: &Arc<OutgoingRecord>| self.0.append_record(&partition(), record);
        records.iter().map(|record| Ok(Acknowledged { partition: 0, offset: append(record) })).collect()
    }
}

/// A dead-letter service on letters that the engine has written.
fn service_of(rig: &Rig) -> DeadLetterService {
    let broker = Arc::clone(&rig.broker);
    DeadLetterService {
        source: Arc::new(MemorySource(Box::new(move || broker.published()))),
        store: Some(Arc::clone(&rig.store)),
        ..service(Vec::new())
    }
}

fn event(id: &str, add: u32, then: &str) -> String {
    format!(r#"{{{id}"eventName": "Added", "data": {{"id": "a", "add": {add}, "then": "{then}"}}}}"#)
}

async fn edit(rig: &Rig, id: &str, payload: &str, dry_run: bool) -> Result<Edited, EditError> {
    service_of(rig).edit(&Republished(Arc::clone(&rig.broker)), "somebody", id, None, payload, dry_run).await
}

#[tokio::test]
async fn only_one_of_a_letter_and_its_corrections_counts() {
    for id in [r#""eventId": "e-1", "#, ""] {
        let rig = Rig::start().await;
        rig.broker.append_record(
            &partition(),
            &OutgoingRecord { key: Some(b"a".to_vec().into()), ..record(&event(id, 2, "reject"), &[]) },
        );
        let letter = rig.dead_letters(1).await.remove(0);
        let dlq_id = header(&letter, "dlq-id");

        let checked = edit(&rig, &dlq_id, &event(id, 7, ""), true).await.expect("it is valid");
        assert!(
            checked.diff.contains("-    \"then\": \"reject\"") && checked.diff.contains("+    \"add\": 7"),
            "{}",
            checked.diff
        );
        assert_eq!(rig.counter("a").await, None, "a check changes nothing");
        let edited = edit(&rig, &dlq_id, &event(id, 7, ""), false).await.expect("it is valid");
        assert_eq!(edited.event_id, header(&letter, "dlq-event-id"));
        rig.settled().await;
        assert_eq!(rig.counter("a").await, Some((7, 1)), "{id}");

        // The original letter and another correction are dropped as duplicates.
        let mut as_it_was = letter.clone();
        as_it_was.headers.retain(|name| !name.starts_with(b"dlq-") || name == b"dlq-id");
        rig.broker.append_record(&partition(), &as_it_was);
        rig.settled().await;
        assert_eq!((rig.counter("a").await, rig.stats().dead_lettered), (Some((7, 1)), 1), "{id}");
        let again = edit(&rig, &dlq_id, &event(id, 8, ""), false).await.expect_err("it was replayed");
        assert!(again.to_string().contains("already replayed"), "{again}");
        let how = LetterReplay { again: true, ..LetterReplay::default() };
        let count = count(&service_of(&rig), LetterSelection::default(), &how).await;
        assert_eq!((count.replayed, count.left_out.len()), (0, 1), "it would be a duplicate, and the summary says so");
    }
}

#[tokio::test]
async fn a_correction_that_fails_again_is_the_same_letter() {
    for id in [r#""eventId": "e-1", "#, ""] {
        let rig = Rig::start().await;
        rig.broker.append_record(
            &partition(),
            &OutgoingRecord { key: Some(b"a".to_vec().into()), ..record(&event(id, 2, "reject"), &[]) },
        );
        let first = rig.dead_letters(1).await.remove(0);
        let dlq_id = header(&first, "dlq-id");
        edit(&rig, &dlq_id, &event(id, 3, "reject"), false).await.expect("it passes the checks");
        let second = rig.dead_letters(2).await.remove(1);
        assert_eq!((header(&second, "dlq-id"), header(&second, "dlq-replays")), (dlq_id.clone(), "1".to_owned()));
        assert_eq!(header(&second, "dlq-event-id"), header(&first, "dlq-event-id"), "{id}");
        edit(&rig, &dlq_id, &event(id, 4, ""), false).await.expect("the later letter is corrected");
        rig.settled().await;
        assert_eq!(rig.counter("a").await, Some((4, 1)), "{id}");
    }
}

#[tokio::test]
async fn an_invalid_correction_is_not_sent() {
    let rig = Rig::start().await;
    rig.broker.append_record(&partition(), &OutgoingRecord { key: Some(b"a".to_vec().into()), ..record("{", &[]) });
    let letter = rig.dead_letters(1).await.remove(0);
    let dlq_id = header(&letter, "dlq-id");
    for (payload, expected) in [
        ("[", "$: "),
        (r#"{"data": {}}"#, "eventName is missing"),
        (r#"{"eventName": "Addde", "data": {}}"#, "did you mean Added?"),
        (r#"{"eventName": "Added", "version": 9, "data": {}}"#, "version 9"),
        (r#"{"eventId": "another", "eventName": "Added", "data": {}}"#, "keeps the id of its event"),
        ("{", "$: "),
    ] {
        let error = edit(&rig, &dlq_id, payload, false).await.expect_err("it is invalid");
        assert!(error.to_string().contains(expected), "{payload}: {error}");
    }
    assert_eq!(rig.stats().consumed, 1, "nothing was sent");
    edit(&rig, &dlq_id, &event("", 5, ""), false).await.expect("it is valid now");
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((5, 1)));
    let audit = service_of(&rig).audit(10).await.expect("an answer");
    assert_eq!((audit.len(), &*audit[0].action, audit[0].letters), (1, "edit", 1));
}

#[tokio::test]
async fn an_unchanged_event_is_refused() {
    let (service, topic) = (service(vec![letter(1, "rejected", 0)]), Topic::default());
    let same = r#"{"data": {"n": 1}, "eventId": "e-1", "eventName": "Added"}"#;
    let error = service.edit(&topic, "somebody", &id(1), None, same, false).await.expect_err("it is the same");
    assert!(error.to_string().contains("nothing has changed"), "{error}");
    let edited = service
        .edit(&topic, "somebody", &id(1), None, r#"{"eventName": "Added", "data": {}}"#, false)
        .await
        .expect("sent");
    assert_eq!(edited.event_id, "e-1", "a missing id is added");
    let sent = String::from_utf8(topic.taken.lock()[0].payload.clone().expect("a payload").into()).expect("text");
    assert_eq!(sent, r#"{"eventId": "e-1", "eventName": "Added", "data": {}}"#);
}
