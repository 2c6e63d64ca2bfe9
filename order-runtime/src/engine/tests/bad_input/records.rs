//! Bad records because of their size, and bad payloads with odd headers, keys and timestamps.

use super::{added, each_is_a_dead_letter, record};
use crate::{engine::tests::rig::header, model::OutgoingRecord};

#[tokio::test]
async fn records_that_are_too_large() {
    let zeros = format!(r#"{{"eventName":"Added","data":{{"id":"a","add":1,"x":[{}0]}}}}"#, "0,".repeat(5_000_000));
    let names = (0..200_000).map(|number| format!(r#""n{number}":0,"#)).collect::<Vec<_>>().concat();
    let text = "x".repeat(1024 * 1024);
    let letters = each_is_a_dead_letter(vec![
        (record(zeros), "too_large", "too_large"),
        (added(&format!(r#"{{{names}"id":"a"}}"#)), "too_large", "too_large"),
        (added(&format!(r#"{{"id":"{text}"}}"#)), "too_large", "too_large"),
        (record(format!(r#"{{"eventName":"{text}"}}"#)), "too_large", "too_large"),
        (OutgoingRecord { key: Some(text.clone().into()), ..added("{}") }, "too_large", "too_large"),
        (OutgoingRecord { headers: vec![("h", Some(text))].into(), ..added("{}") }, "too_large", "too_large"),
    ])
    .await;
    assert!(header(&letters[0], "dlq-error-message").contains("10000"), "the size is reported");
}

#[tokio::test]
async fn bad_events_with_odd_headers_keep_them() {
    let text = |name: &str, value: &str| (name.as_bytes().to_vec(), Some(value.as_bytes().to_vec()));
    let many = (0..10_000).map(|number| text(&format!("h{number}"), "v")).collect();
    let odd = vec![
        (b"\xff\xfe".to_vec(), Some(b"\x00\xff".to_vec())),
        text("twice", "1"),
        text("twice", "2"),
        (b"null".to_vec(), None),
        (Vec::new(), Some(Vec::new())),
    ];
    let wrong_type = vec![text("ce_specversion", "1.0"), (b"ce_type".to_vec(), Some(b"\xff".to_vec()))];
    let null_type = vec![text("ce_specversion", "1.0"), text("ce_type", "Added"), (b"ce_type".to_vec(), None)];
    each_is_a_dead_letter(vec![
        (OutgoingRecord { headers: odd.into(), ..record("{") }, "undecodable", "not_json"),
        (OutgoingRecord { headers: many, ..record("{") }, "undecodable", "not_json"),
        (OutgoingRecord { headers: wrong_type.into(), ..added("{}") }, "undecodable", "bad_header"),
        (OutgoingRecord { headers: null_type.into(), ..added("{}") }, "undecodable", "no_name"),
    ])
    .await;
}

#[tokio::test]
async fn bad_events_under_odd_keys_and_times() {
    let long = vec![0xfe; 900 * 1024];
    let mut cases = Vec::new();
    for key in [None, Some(Vec::new()), Some(vec![0, 0xff]), Some(vec![b'k'; 3_000]), Some(long)] {
        cases.push((OutgoingRecord { key: key.map(Into::into), ..record("{") }, "undecodable", "not_json"));
    }
    let times = [None, Some(-1), Some(0), Some(i64::MAX), Some(i64::MIN)];
    for timestamp in times {
        cases.push((OutgoingRecord { timestamp, ..record("{") }, "undecodable", "not_json"));
    }
    let letters = each_is_a_dead_letter(cases).await;
    for (timestamp, letter) in times.iter().zip(&letters[5..]) {
        let reported =
            letter.headers.iter().find(|(name, _)| name == b"dlq-timestamp").map(|_| header(letter, "dlq-timestamp"));
        assert_eq!(reported, timestamp.map(|timestamp| timestamp.to_string()));
    }
}
