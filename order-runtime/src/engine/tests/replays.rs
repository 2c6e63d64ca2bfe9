//! Replays of dead letters.

use super::rig::{Rig, header, partition};
use crate::model::{HeaderBlock, OutgoingRecord};

/// The record that a replay of `letter` sends.
fn replay(letter: &OutgoingRecord) -> OutgoingRecord {
    let mut headers = letter.headers.clone();
    headers.retain(|name| !name.starts_with(b"dlq-") || name == b"dlq-id");
    OutgoingRecord { headers, ..letter.clone() }
}

fn record(payload: &str) -> OutgoingRecord {
    OutgoingRecord {
        topic: "things".into(),
        partition: None,
        key: Some(b"a".to_vec().into()),
        payload: Some(payload.to_owned().into()),
        headers: HeaderBlock::default(),
        timestamp: None,
    }
}

#[tokio::test]
async fn a_replay_that_is_sent_twice_counts_once() {
    // With an id of the producer, and without.
    for id in [r#""eventId":"e-2","#, ""] {
        let rig = Rig::start().await;
        let data = r#"{"id":"a","add":2,"then":"reject_if_new"}"#;
        rig.broker.append_record(&partition(), &record(&format!(r#"{{{id}"eventName":"Added","data":{data}}}"#)));
        let letters = rig.dead_letters(1).await;
        rig.send("Added", "a", 1, "");
        rig.broker.append_record(&partition(), &replay(&letters[0]));
        rig.broker.append_record(&partition(), &replay(&letters[0]));
        rig.settled().await;
        assert_eq!(rig.counter("a").await, Some((12, 2)), "{id}");
        assert_eq!((rig.stats().ok, rig.stats().skipped), (2, 1), "{id}");
    }
}

#[tokio::test]
async fn a_replay_that_fails_again_keeps_its_id_and_counts() {
    for payload in [
        r#"{"eventId":"e-1","eventName":"Added","data":{"id":"a","then":"reject"}}"#,
        r#"{"eventName":"Added","data":{"id":"a","then":"reject"}}"#,
        r#"{"eventName":"Added","version":7}"#,
        r#"{"eventName":"Unheard"}"#,
        r#"{"eventName":"#,
    ] {
        let rig = Rig::start().await;
        rig.broker.append_record(&partition(), &record(payload));
        let first = rig.dead_letters(1).await.remove(0);
        for round in 1..=3 {
            rig.broker.append_record(&partition(), &replay(&first));
            let letters = rig.dead_letters(round + 1).await;
            let letter = &letters[round];
            assert_eq!(header(letter, "dlq-replays"), round.to_string(), "{payload}");
            assert_eq!(header(letter, "dlq-id"), header(&first, "dlq-id"), "{payload}");
            assert_eq!(header(letter, "dlq-event-id"), header(&first, "dlq-event-id"), "{payload}");
            assert_eq!((&letter.key, &letter.payload), (&first.key, &first.payload));
        }
    }
}

/// The id of a dead letter does not apply to another event that is sent with it.
#[tokio::test]
async fn the_id_of_a_dead_letter_does_not_apply_to_another_event() {
    let rig = Rig::start().await;
    rig.broker.append_record(&partition(), &record(r#"{"eventName":"Added","data":{"id":"a","then":"reject"}}"#));
    let letter = rig.dead_letters(1).await.remove(0);
    let mut other = replay(&letter);
    other.payload = Some(r#"{"eventName":"Added","data":{"id":"a","add":5}}"#.into());
    rig.broker.append_record(&partition(), &other);
    rig.broker.append_record(&partition(), &other);
    rig.settled().await;
    assert_eq!(rig.counter("a").await, Some((55, 2)), "two events without an id are two events");
}
