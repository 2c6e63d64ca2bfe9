//! Records that look bad and are accepted by decision: each is applied once.

use super::{added, measured, record};
use crate::{
    decode::{MAX_DEPTH, MAX_NAME},
    engine::tests::rig::{Rig, partition},
    model::{HeaderBlock, OutgoingRecord},
};

/// Sends the records and checks that each is applied once.
async fn each_is_applied(records: Vec<OutgoingRecord>) -> Rig {
    let rig = Rig::start().await;
    for record in &records {
        rig.broker.append_record(&partition(), record);
    }
    rig.settled().await;
    assert_eq!(rig.broker.published(), []);
    assert_eq!((rig.stats().ok, rig.stats().skipped), (records.len() as u64, 0));
    rig
}

#[tokio::test]
async fn unused_members_need_only_be_json() {
    let with = |member: &str| record(format!(r#"{{"eventName":"Added",{member},"data":{{"id":"a","add":0}}}}"#));
    let deep = format!(r#""x":{}{}"#, "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
    each_is_applied(vec![
        with(r#""x":1,"x":2"#),
        with(r#""x":1e400"#),
        with(r#""x":"\ud800""#),
        with(&deep),
        with(&format!(r#""x":[{}0]"#, "0,".repeat(400_000))),
        with(r#""EventName":"Measured""#),
    ])
    .await;
}

#[tokio::test]
async fn many_names_and_brackets_in_strings_are_no_depth() {
    let names = (0..60_000).map(|number| format!(r#""n{number}":0,"#)).collect::<Vec<_>>().concat();
    let brackets = "[{".repeat(10_000);
    each_is_applied(vec![
        added(&format!(r#"{{{names}"id":"a","add":0}}"#)),
        added(&format!(r#"{{"id":"a","add":0,"x":"{brackets}"}}"#)),
        added(r#"{"id":"a","add":0,"x":"\\u0000"}"#),
    ])
    .await;
}

/// An object inside the data may be an array of its members in their order; its validation rules still apply.
#[tokio::test]
async fn an_inner_object_may_be_an_array() {
    each_is_applied(vec![measured(r#"{"id":"a","amount":1,"parts":[[1],{"count":1}]}"#)]).await;
}

#[tokio::test]
async fn ids_and_times_at_their_limits() {
    let with = |member: &str| record(format!(r#"{{"eventName":"Added",{member},"data":{{"id":"a","add":0}}}}"#));
    each_is_applied(vec![
        with(&format!(r#""eventId":"{}""#, "é".repeat(MAX_NAME))),
        with(r#""eventId":null"#),
        with(r#""occurredAt":null"#),
        with(r#""occurredAt":"0001-01-01T00:00:00Z""#),
        with(r#""occurredAt":"9999-12-30T00:00:00Z""#),
        with(r#""version":"1""#),
        with(r#""version":1.0"#),
        with(r#""occurredAt":"2026-01-31T12:00:00.123456789012Z""#),
    ])
    .await;
}

/// The key determines the partition and the order; the data names the entity.
#[tokio::test]
async fn keys_are_any_bytes() {
    let keys: [Option<&[u8]>; 6] =
        [None, None, Some(b""), Some(b"\xff\xfe\0"), Some(b"another order"), Some(&[b'k'; 3_000])];
    let records = keys
        .map(|key| OutgoingRecord { key: key.map(|bytes| bytes.to_vec().into()), ..added(r#"{"id":"a","add":1}"#) });
    let rig = each_is_applied(records.into()).await;
    assert_eq!(rig.counter("a").await, Some((111_111, 6)), "each event changed the entity that its data names");
}

#[tokio::test]
async fn headers_are_any_bytes() {
    let text = |name: &str, value: &str| (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()));
    let with = |headers: Vec<_>| OutgoingRecord { headers: headers.into(), ..added(r#"{"id":"a","add":0}"#) };
    each_is_applied(vec![
        with(vec![(b"\xff".to_vec(), Some(b"\xff".to_vec()))]),
        with(vec![(b"null".to_vec(), None), (Vec::new(), Some(Vec::new()))]),
        with(vec![text("eventName", "Unheard"), text("eventId", "of the header")]),
        with((0..10_000).map(|number| text(&format!("h{number}"), "v")).collect()),
        with(vec![("h".repeat(300 * 1024).into_bytes(), Some(vec![7; 700 * 1024]))]),
    ])
    .await;
}

/// If a `CloudEvent` repeats a header, the last value counts.
#[tokio::test]
async fn the_last_of_several_headers_with_one_name_counts() {
    let headers =
        vec![("ce_specversion", Some("1.0")), ("ce_type", Some("Unheard")), ("ce_type", Some("Added"))].into();
    let rig = each_is_applied(vec![OutgoingRecord { headers, ..record(r#"{"id":"a","add":7}"#) }]).await;
    assert_eq!(rig.counter("a").await, Some((7, 1)));
}

/// Dead-letter headers count only if the store confirms them.
#[tokio::test]
async fn forged_headers_are_ignored() {
    let forged = HeaderBlock::from(vec![
        ("dlq-id", Some(&b"00000000000000000000000000000000"[..])),
        ("dlq-replays", Some(b"4294967295")),
        ("dlq-topic", Some(b"elsewhere")),
        ("dlq-reason", Some(b"rejected")),
        ("dlq-id", Some(b"\xff")),
    ]);
    let rig = each_is_applied(vec![OutgoingRecord { headers: forged.clone(), ..added(r#"{"id":"a","add":7}"#) }]).await;
    let bad = OutgoingRecord { headers: forged, ..record("{") };
    let offset = rig.broker.append_record(&partition(), &bad);
    let letters = rig.dead_letters(1).await;
    let reported = |name: &str| -> Vec<_> {
        letters[0]
            .headers
            .iter()
            .filter(|(known, _)| *known == name.as_bytes())
            .map(|(_, value)| value.map(String::from_utf8_lossy))
            .collect()
    };
    assert_eq!(reported("dlq-replays"), [Some("0".into())]);
    assert_eq!(reported("dlq-topic"), [Some("things".into())]);
    assert_eq!(reported("dlq-offset"), [Some(offset.to_string().into())]);
    assert_eq!(reported("dlq-id").len(), 1);
}

/// A failed event keeps its timestamp, whatever its value, and no calculation overflows.
#[tokio::test]
async fn times_of_records_are_any_number() {
    let times = [None, Some(-1), Some(0), Some(i64::MAX), Some(i64::MIN)];
    let rig = Rig::start().await;
    for (number, timestamp) in times.iter().enumerate() {
        let data = format!(r#"{{"id":"k{number}","add":1,"then":"fail_once"}}"#);
        let key = Some(format!("k{number}").into());
        rig.broker.append_record(&partition(), &OutgoingRecord { timestamp: *timestamp, key, ..added(&data) });
    }
    rig.until("all wait or are handled", |rig| rig.stats().consumed == 5).await;
    for (_, row) in rig.store.waiting(10).await.expect("memory answers") {
        assert!(times.contains(&row.timestamp));
    }
    rig.settled().await;
    assert_eq!((rig.stats().ok, rig.stats().retried), (5, 5));
}
