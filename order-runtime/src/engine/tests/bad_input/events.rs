//! JSON that is no event, events without a processor, and data that does not fit its schema.

use super::{each_is_a_dead_letter, measured, record};
use crate::{decode::MAX_NAME, engine::tests::rig::header, model::OutgoingRecord};

#[tokio::test]
async fn names_without_a_processor() {
    let named = |name: &str| record(serde_json::json!({ "eventName": name, "data": {} }).to_string());
    let header_only = OutgoingRecord {
        headers: vec![("eventName", Some("Added"))].into(),
        ..record(r#"{"data":{"id":"a","add":1}}"#)
    };
    let cloud_event = OutgoingRecord {
        headers: vec![("ce_specversion", Some("1.0")), ("ce_type", Some("Unheard"))].into(),
        ..record(r#"{"eventName":"Added"}"#)
    };
    let letters = each_is_a_dead_letter(vec![
        (named("Unheard"), "unknown_event", "unknown_event"),
        (named("added"), "unknown_event", "unknown_event"),
        (named("ADDED"), "unknown_event", "unknown_event"),
        (named(" Added"), "unknown_event", "unknown_event"),
        (named("Added "), "unknown_event", "unknown_event"),
        (named("Ad\u{200b}ded"), "unknown_event", "unknown_event"),
        (named(&"A".repeat(MAX_NAME)), "unknown_event", "unknown_event"),
        (cloud_event, "unknown_event", "unknown_event"),
        (named(&"A".repeat(MAX_NAME + 1)), "undecodable", "bad_name"),
        (named("Added\r\nX"), "undecodable", "bad_name"),
        (named("\u{1b}[31mAdded"), "undecodable", "bad_name"),
        (named(""), "undecodable", "no_name"),
        (record(r#"{"eventName":null}"#), "undecodable", "bad_name"),
        (record(r#"{"eventName":["Added"]}"#), "undecodable", "bad_name"),
        (header_only, "undecodable", "no_name"),
    ])
    .await;
    assert_eq!(header(&letters[1], "dlq-event-name"), "added", "the name is reported unchanged");
}

#[tokio::test]
async fn events_that_do_not_fit_their_schema() {
    let cases = [
        (r#"{"amount":1}"#, "$.data.id: is missing"),
        (r#"{"id":"","amount":1}"#, "$.data.id: "),
        (r#"{"id":7,"amount":1}"#, "$.data.id: is an integer"),
        (r#"{"id":"a","amount":-1}"#, "$.data.amount: "),
        (r#"{"id":"a","amount":"s3cret"}"#, "$.data.amount: is a string"),
        (r#"{"id":"a","amount":null}"#, "$.data.amount: is null"),
        (r#"{"id":"a","amount":1,"Unit":"metre"}"#, ""),
        (r#"{"id":"a","amount":1,"parts":[{"count":1},{"count":0}]}"#, "$.data.parts[1].count: "),
        (r#"{"id":"a","amount":1,"parts":[{"count":1},{}]}"#, "$.data.parts[1].count: is missing"),
        (r#"{"id":"a","amount":1,"parts":7}"#, "$.data.parts: is an integer"),
        (r#"{"id":"a","amount":1,"unit":"s3cret"}"#, "allowed"),
        (r#"{"id":"a","amount":1,"at":"2026-02-30T00:00:00Z"}"#, "$.data.at: "),
        (r#"{"id":"a","amount":1,"at":"+99999-01-01T00:00:00Z"}"#, "$.data.at: "),
    ];
    let (fits, broken): (Vec<_>, Vec<_>) = cases.iter().partition(|(_, message)| message.is_empty());
    assert_eq!(fits.len(), 1, "an unknown member is no error");
    let sent = broken.iter().map(|(data, _)| (measured(data), "invalid", "invalid_data")).collect();
    let letters = each_is_a_dead_letter(sent).await;
    for ((data, message), letter) in broken.iter().zip(&letters) {
        let reported = header(letter, "dlq-error-message");
        assert!(reported.contains(message), "{data}: {reported}");
    }
}

#[tokio::test]
async fn envelopes_with_wrong_members() {
    let with = |member: &str| record(format!(r#"{{"eventName":"Added",{member},"data":{{"id":"a","add":1}}}}"#));
    each_is_a_dead_letter(vec![
        (with(r#""version":2"#), "invalid", "unknown_version"),
        (with(r#""version":4294967295"#), "invalid", "unknown_version"),
        (with(r#""version":0"#), "undecodable", "bad_version"),
        (with(r#""version":-1"#), "undecodable", "bad_version"),
        (with(r#""version":1.5"#), "undecodable", "bad_version"),
        (with(r#""version":"one""#), "undecodable", "bad_version"),
        (with(r#""version":99999999999999999999"#), "undecodable", "bad_version"),
        (with(r#""occurredAt":"s3cret""#), "undecodable", "bad_time"),
        (with(r#""occurredAt":"2026-13-45T99:00:00Z""#), "undecodable", "bad_time"),
        (with(r#""occurredAt":"+99999-01-01T00:00:00Z""#), "undecodable", "bad_time"),
        (with(r#""occurredAt":1700000000"#), "undecodable", "bad_time"),
        (with(r#""eventId":"""#), "undecodable", "bad_id"),
        (with(r#""eventId":7"#), "undecodable", "bad_id"),
        (with(&format!(r#""eventId":"{}""#, "x".repeat(MAX_NAME + 1))), "undecodable", "bad_id"),
        (with(r#""eventId":"a\nb""#), "undecodable", "bad_id"),
        (with(r#""specversion":"0.3""#), "undecodable", "bad_specversion"),
        (with(r#""data_base64":"e30=""#), "undecodable", "data_base64"),
    ])
    .await;
}
