//! Envelopes that are accepted, and the error codes of those that are refused.

use proptest::prelude::*;

use super::*;
use crate::model::RecordBatch;

fn record(payload: Option<&[u8]>, headers: &[(&str, &str)]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
    batch.push(0, None, None, payload, headers);
    batch
}

fn decoded(payload: &[u8], headers: &[(&str, &str)]) -> Result<DecodedRecord, DecodeError> {
    DecodedRecord::decode(Arc::new(record(Some(payload), headers)), 0)
}

/// Id, name, version, time and data of an envelope that is accepted.
fn parts(payload: &str, headers: &[(&str, &str)]) -> (Option<String>, String, u32, Option<String>, String) {
    let decoded = decoded(payload.as_bytes(), headers).unwrap_or_else(|error| panic!("{payload}: {error:?}"));
    let envelope = decoded.envelope();
    (
        envelope.id.as_deref().map(ToOwned::to_owned),
        envelope.name.clone().into_owned(),
        envelope.version,
        envelope.occurred_at.map(|time| time.to_string()),
        envelope.data.clone().into_owned(),
    )
}

fn code(payload: &[u8], headers: &[(&str, &str)]) -> &'static str {
    match decoded(payload, headers) {
        Ok(decoded) => panic!("{} was decoded as {:?}", String::from_utf8_lossy(payload), decoded.envelope()),
        Err(error) => error.code,
    }
}

#[test]
fn every_spelling_is_accepted() {
    let expected = (
        Some("e-1".to_owned()),
        "ThingHappened".to_owned(),
        2,
        Some("2026-01-31T12:00:00Z".to_owned()),
        r#"{"a": 1}"#.to_owned(),
    );
    for (id, name, time) in [
        ("eventId", "eventName", "occurredAt"),
        ("event_id", "event_name", "occurred_at"),
        ("id", "name", "time"),
        ("id", "type", "time"),
    ] {
        let payload = format!(
            r#"{{"{id}":"e-1","more":[{{}}],"{name}":"ThingHappened","version":2,"{time}":"2026-01-31T13:00:00+01:00","data":{{"a": 1}}}}"#
        );
        assert_eq!(parts(&payload, &[]), expected, "{payload}");
    }
}

#[test]
fn missing_members_have_defaults() {
    let expected = (None, "ThingHappened".to_owned(), 1, None, "null".to_owned());
    assert_eq!(parts(r#" {"eventName":"ThingHappened"} "#, &[]), expected);
    assert_eq!(
        parts(r#"{"eventName":"ThingHappened","eventId":null,"version":null,"occurredAt":null,"data":null}"#, &[]),
        expected
    );
}

#[test]
fn numbers_and_times_are_read_as_their_standards_write_them() {
    let version = |text: &str| parts(&format!(r#"{{"eventName":"A","version":{text}}}"#), &[]).2;
    assert_eq!(["2", "2.0", "2e0", "20e-1", "\"2\""].map(version), [2; 5]);
    let time = |text: &str| parts(&format!(r#"{{"eventName":"A","occurredAt":"{text}"}}"#), &[]).3;
    assert_eq!(time("2026-01-31T12:00:00.123456789012Z").as_deref(), Some("2026-01-31T12:00:00.123456789Z"));
    assert_eq!(time("2026-01-31T13:00:00.0000000000000+01:00").as_deref(), Some("2026-01-31T12:00:00Z"));
}

#[test]
fn the_length_of_an_id_counts_characters() {
    let id = |length| format!(r#"{{"eventName":"A","eventId":"{}"}}"#, "é".repeat(length));
    assert!(decoded(id(MAX_NAME).as_bytes(), &[]).is_ok());
    assert_eq!(code(id(MAX_NAME + 1).as_bytes(), &[]), "bad_id");
}

#[test]
fn the_source_belongs_to_cloud_events_alone() {
    let source = |payload: &str, headers: &[(&str, &str)]| {
        let decoded = decoded(payload.as_bytes(), headers).unwrap_or_else(|error| panic!("{payload}: {error:?}"));
        decoded.envelope().source.as_deref().map(ToOwned::to_owned)
    };
    assert_eq!(source(r#"{"specversion":"1.0","type":"A","source":"/x"}"#, &[]).as_deref(), Some("/x"));
    for payload in [
        r#"{"eventName":"A","source":7}"#,
        r#"{"eventName":"A","source":"/x","source":"/y","data":{}}"#,
        r#"{"specversion":"1.0","type":"A","source":""}"#,
        r#"{"specversion":"1.0","type":"A","source":null}"#,
    ] {
        assert_eq!(source(payload, &[]), None, "{payload}");
    }
    let headers = [("ce_specversion", "1.0"), ("ce_type", "A"), ("ce_source", "/x")];
    assert_eq!(source("{}", &headers).as_deref(), Some("/x"));
}

#[test]
fn escaped_and_foreign_texts_are_read() {
    let (id, name, ..) =
        parts(r#"{"eventName":"Thing\u0048appened","eventId":"ä\n\"ö\"","data":{}}"#.replace("\\n", "").as_str(), &[]);
    assert_eq!((id.as_deref(), name.as_str()), (Some("ä\"ö\""), "ThingHappened"));
}

#[test]
fn cloud_events_are_accepted_in_both_modes() {
    let structured = r#"{"specversion":"1.0","id":"e-1","source":"/x","type":"ThingHappened","time":"2026-01-31T12:00:00Z","datacontenttype":"application/json","dataversion":"3","data":{"a":1}}"#;
    let expected = (
        Some("e-1".to_owned()),
        "ThingHappened".to_owned(),
        3,
        Some("2026-01-31T12:00:00Z".to_owned()),
        r#"{"a":1}"#.to_owned(),
    );
    assert_eq!(parts(structured, &[("content-type", "application/cloudevents+json; charset=UTF-8")]), expected);
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "e-1"),
        ("ce_type", "ThingHappened"),
        ("ce_time", "2026-01-31T12:00:00Z"),
        ("ce_dataversion", "3"),
        ("content-type", "application/json"),
    ];
    assert_eq!(parts(r#"{"a":1}"#, &headers), expected);
    let headers = [("ce_specversion", "1.0"), ("ce_type", "FromTheHeader")];
    let payload = r#"{"eventName":"FromTheBody"}"#;
    assert_eq!(parts(payload, &headers).1, "FromTheHeader", "the headers decide, and the payload is the data");
    assert_eq!(parts(payload, &headers).4, payload);
}

#[test]
fn each_undecodable_record_has_its_code() {
    let batch = record(None, &[]);
    assert_eq!(decode(&batch.get(0).expect("one record")).expect_err("no payload").code, "tombstone");
    let deep = |depth: usize| format!(r#"{{"eventName":"A","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(decoded(deep(MAX_DEPTH - 1).as_bytes(), &[]).is_ok());
    let brackets_in_text = format!(r#"{{"eventName":"A","x":"{}"}}"#, "[".repeat(500));
    assert!(decoded(brackets_in_text.as_bytes(), &[]).is_ok());
    let long = format!(r#"{{"eventName":"{}"}}"#, "A".repeat(MAX_NAME + 1));
    let cases: Vec<(&[u8], &str)> = vec![
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"\xff\xfe{\x00}\x00", "not_utf8"),
        (b"{\"eventName\":\"\xc0\xaf\"}", "not_utf8"),
        (b"\xef\xbb\xbf{}", "not_an_object"),
        (b"[\"id\",5]", "not_an_object"),
        (b"\"text\"", "not_an_object"),
        (b"null", "not_an_object"),
        (br#"{"eventName":"A""#, "not_json"),
        (br#"{"eventName":"A"}{"eventName":"B"}"#, "not_json"),
        (br#"{"eventName":"A"} x"#, "not_json"),
        (br#"{"eventName":"A",}"#, "not_json"),
        (br#"{"eventName":"A","x":NaN}"#, "not_json"),
        (br#"{"eventName":"A","x":01}"#, "not_json"),
        (br#"{"eventName":"A","data":{"x":01}}"#, "not_json"),
        (br#"{"eventName":"A","data":{"x":[1,}}"#, "not_json"),
        (br#"{"eventName":"A","data":{"x":1}}}"#, "not_json"),
        (br#"{"eventName":"A"/* no */}"#, "not_json"),
        (br#"{"eventName":"A","eventName":"B"}"#, "duplicate_member"),
        (br#"{"eventName":"A","name":"A"}"#, "duplicate_member"),
        (br#"{"eventName":"A","data":{},"data":{}}"#, "duplicate_member"),
        (br#"{"data":{}}"#, "no_name"),
        (br#"{"eventName":""}"#, "no_name"),
        (br#"{"eventName":7}"#, "bad_name"),
        (br#"{"eventName":"A\u001b[31m"}"#, "bad_name"),
        (br#"{"eventName":"\ud800"}"#, "bad_name"),
        (long.as_bytes(), "bad_name"),
        (br#"{"eventName":"A","eventId":7}"#, "bad_id"),
        (br#"{"eventName":"A","eventId":""}"#, "bad_id"),
        (br#"{"eventName":"A","version":0}"#, "bad_version"),
        (br#"{"eventName":"A","version":-1}"#, "bad_version"),
        (br#"{"eventName":"A","version":1.5}"#, "bad_version"),
        (br#"{"eventName":"A","version":"1.0"}"#, "bad_version"),
        (br#"{"eventName":"A","version":"+1"}"#, "bad_version"),
        (br#"{"eventName":"A","version":""}"#, "bad_version"),
        (br#"{"specversion":"1.0","type":"A","source":7}"#, "bad_source"),
        (br#"{"specversion":"1.0","type":"A","source":"a","source":"b"}"#, "duplicate_member"),
        (br#"{"eventName":"A","version":4294967296}"#, "bad_version"),
        (br#"{"eventName":"A","occurredAt":"yesterday"}"#, "bad_time"),
        (br#"{"eventName":"A","occurredAt":1700000000}"#, "bad_time"),
        (br#"{"eventName":"A","data":{"x":"\u0000"}}"#, "nul_character"),
        (br#"{"eventName":"A","data":{"x":"\\\u0000"}}"#, "nul_character"),
        (br#"{"specversion":"0.3","type":"A"}"#, "bad_specversion"),
        (br#"{"specversion":"1.0","type":"A","data_base64":"e30="}"#, "data_base64"),
    ];
    for (payload, expected) in cases {
        assert_eq!(code(payload, &[]), expected, "{}", String::from_utf8_lossy(payload));
    }
    assert_eq!(code(deep(MAX_DEPTH).as_bytes(), &[]), "too_deep");
    assert_eq!(code(deep(100_000).as_bytes(), &[]), "too_deep");
    assert!(decoded(br#"{"eventName":"A","data":{"x":"\\u0000"}}"#, &[]).is_ok(), "an escaped backslash is literal");
}

#[test]
fn a_binary_cloud_event_needs_valid_headers() {
    let with = |name: &'static str, value: &'static str| {
        code(b"{}", &[("ce_specversion", "1.0"), ("ce_type", "A"), (name, value)])
    };
    assert_eq!(with("ce_specversion", "2.0"), "bad_specversion");
    assert_eq!(with("content-type", "application/avro"), "bad_content_type");
    assert_eq!(with("ce_time", "noon"), "bad_time");
    assert_eq!(with("ce_id", ""), "bad_id");
    assert_eq!(with("ce_dataversion", "x"), "bad_version");
    assert_eq!(code(b"{}", &[("ce_specversion", "1.0")]), "no_name");
}

#[test]
fn a_large_payload_is_accepted() {
    let payload = format!(r#"{{"eventName":"A","x":[{}0],"data":{{}}}}"#, "0,".repeat(400_000));
    assert_eq!(parts(&payload, &[]).4, "{}");
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decoded(&payload, &[]);
    }

    #[test]
    fn any_changed_event_is_decoded_or_refused(at in 0_usize..110, byte in any::<u8>()) {
        let mut payload =
            br#"{"eventId":"e-1","eventName":"ThingHappened","version":1,"occurredAt":"2026-01-31T12:00:00Z","data":{"a":[1]}}"#.to_vec();
        let at = at.min(payload.len() - 1);
        payload[at] = byte;
        if let Ok(decoded) = decoded(&payload, &[]) {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&decoded.envelope().data).is_ok());
            prop_assert!(!decoded.envelope().name.is_empty());
        }
    }

    #[test]
    fn envelopes_from_serde_are_read_back(id in "\\PC{1,40}", name in "[A-Za-z]{1,40}", version in 1_u32.., text in "\\PC{0,40}") {
        let data = serde_json::json!({ "text": text });
        let payload = serde_json::json!({ "eventId": id, "eventName": name, "version": version, "data": data }).to_string();
        let (read_id, read_name, read_version, _, read_data) = parts(&payload, &[]);
        prop_assert_eq!(read_id, Some(id));
        prop_assert_eq!(read_name, name);
        prop_assert_eq!(read_version, version);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&read_data).expect("JSON"), data);
    }
}
