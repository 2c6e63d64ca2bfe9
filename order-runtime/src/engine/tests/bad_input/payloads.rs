//! Payloads that are no JSON, or JSON that cannot be kept exactly.

use super::{Case, added, each_is_a_dead_letter, measured, record};
use crate::{decode::MAX_DEPTH, model::OutgoingRecord};

#[tokio::test]
async fn payloads_without_anything_in_them() {
    let tombstone = OutgoingRecord { payload: None, ..record("") };
    each_is_a_dead_letter(vec![
        (tombstone, "undecodable", "tombstone"),
        (record(""), "undecodable", "empty"),
        (record(" \r\n\t"), "undecodable", "empty"),
    ])
    .await;
}

#[tokio::test]
async fn payloads_that_are_no_utf_8() {
    let text = r#"{"eventName":"Added"}"#;
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_mark = [b"\xff\xfe", utf_16.as_slice()].concat();
    each_is_a_dead_letter(vec![
        (record(b"\xff\x00\xfe".to_vec()), "undecodable", "not_utf8"),
        (record(b"{\"eventName\":\"\xc0\xaf\"}".to_vec()), "undecodable", "not_utf8"),
        (record(b"{\"eventName\":\"\xed\xa0\x80\"}".to_vec()), "undecodable", "not_utf8"),
        (record(with_mark), "undecodable", "not_utf8"),
        (record(utf_16), "undecodable", "not_json"),
        (record(format!("\u{feff}{text}")), "undecodable", "not_an_object"),
    ])
    .await;
}

#[tokio::test]
async fn payloads_that_nest_too_deep() {
    let deep = |member: &str, depth: usize| {
        record(format!(r#"{{"eventName":"Added","{member}":{}{}}}"#, "[".repeat(depth), "]".repeat(depth)))
    };
    each_is_a_dead_letter(vec![
        (deep("data", MAX_DEPTH), "undecodable", "too_deep"),
        (deep("nobodyReadsThis", MAX_DEPTH), "undecodable", "too_deep"),
        (deep("nobodyReadsThis", 5_000), "undecodable", "too_deep"),
        (deep("data", 100_000), "undecodable", "too_deep"),
        (record("{\"a\":".repeat(100_000)), "undecodable", "too_deep"),
    ])
    .await;
}

#[tokio::test]
async fn duplicate_names() {
    each_is_a_dead_letter(vec![
        (record(r#"{"eventName":"Added","eventName":"Measured","data":{}}"#), "undecodable", "duplicate_member"),
        (record(r#"{"eventName":"Added","type":"Added","data":{}}"#), "undecodable", "duplicate_member"),
        (record(r#"{"eventId":"a","id":"b","eventName":"Added"}"#), "undecodable", "duplicate_member"),
        (record(r#"{"eventName":"Added","data":{"add":1},"data":{"add":2}}"#), "undecodable", "duplicate_member"),
        (added(r#"{"id":"a","add":1,"add":2}"#), "invalid", "invalid_data"),
        (added(r#"{"id":"a","inner":{"x":1,"x":1}}"#), "invalid", "invalid_data"),
        (measured(r#"{"id":"a","amount":1,"amount":2}"#), "invalid", "invalid_data"),
    ])
    .await;
}

#[tokio::test]
async fn numbers_that_no_type_holds() {
    let digits = "9".repeat(400);
    let mut cases = Vec::new();
    for number in ["1e400", digits.as_str(), "18446744073709551616", "-9223372036854775809"] {
        cases.push((added(&format!(r#"{{"id":"a","add":{number}}}"#)), "invalid", "invalid_data"));
    }
    for number in ["9223372036854775808", "9223372036854775808.0", "1e-2", "0.1", digits.as_str(), "1e400", "\"1\""] {
        cases.push((measured(&format!(r#"{{"id":"a","amount":{number}}}"#)), "invalid", "invalid_data"));
    }
    each_is_a_dead_letter(cases).await;
}

#[tokio::test]
async fn payloads_that_are_almost_json() {
    let mut cases: Vec<Case> = [
        r#"{"add":NaN}"#,
        r#"{"add":Infinity}"#,
        r#"{"add":-Infinity}"#,
        r#"{"add":01}"#,
        r#"{"add":+1}"#,
        r#"{"add":.5}"#,
        r#"{"add":1,}"#,
        r#"{"add":[1,]}"#,
        r#"{"add":1 /* one */}"#,
        "{'add':1}",
        "{\"id\":\"a\nb\"}",
        "{\"id\":\"a\0b\"}",
        r#"{"id":"\x41"}"#,
        r#"{"id":"\u12"}"#,
    ]
    .map(|data| (added(data), "undecodable", "not_json"))
    .into();
    for payload in [
        r#"{"eventName":"Added","data":{"id":"a"}"#,
        r#"{"eventName":"Added","data":{}} {"eventName":"Added"}"#,
        r#"{"eventName":"Added","data":{}}}"#,
        "{\"eventName\":\"Added\",\"data\":{}}\0",
        "{",
        "{}garbage",
    ] {
        cases.push((record(payload), "undecodable", "not_json"));
    }
    // Data that also breaks its schema is undecodable if it is not JSON.
    for data in [r#"{"id":7,"more":}"#, r#"{"id":7,"more":["#, r#"{"id":7,"#] {
        cases.push((measured(data), "undecodable", "not_json"));
    }
    each_is_a_dead_letter(cases).await;
}

#[tokio::test]
async fn escapes_that_are_no_characters() {
    each_is_a_dead_letter(vec![
        (record(r#"{"eventName":"Added\ud800"}"#), "undecodable", "bad_name"),
        (record(r#"{"eventName":"Added","eventId":"\udc00"}"#), "undecodable", "bad_id"),
        (added(r#"{"id":"\ud800"}"#), "invalid", "invalid_data"),
        (added(r#"{"id":"\udc00\ud800"}"#), "invalid", "invalid_data"),
        (measured(r#"{"id":"\ud800x","amount":1}"#), "invalid", "invalid_data"),
    ])
    .await;
}

#[tokio::test]
async fn the_character_nul() {
    let nul = "\\u0000";
    each_is_a_dead_letter(vec![
        (added(&format!(r#"{{"id":"a{nul}b"}}"#)), "undecodable", "nul_character"),
        (added(&format!(r#"{{"{nul}":1}}"#)), "undecodable", "nul_character"),
        (record(format!(r#"{{"eventName":"Added{nul}","data":{{}}}}"#)), "undecodable", "nul_character"),
        (record(format!(r#"{{"eventName":"Added","nobodyReadsThis":"{nul}"}}"#)), "undecodable", "nul_character"),
    ])
    .await;
}

#[tokio::test]
async fn arrays_and_other_values_where_an_object_belongs() {
    each_is_a_dead_letter(vec![
        (record(r#"["e-1","Added",1,null,{}]"#), "undecodable", "not_an_object"),
        (record(r#""Added""#), "undecodable", "not_an_object"),
        (record("null"), "undecodable", "not_an_object"),
        (record("7"), "undecodable", "not_an_object"),
        (measured(r#"["a",1]"#), "invalid", "invalid_data"),
        (measured("null"), "invalid", "invalid_data"),
        (record(r#"{"eventName":"Measured"}"#), "invalid", "invalid_data"),
        (measured(r#"{"id":"a","amount":1,"parts":{"count":1}}"#), "invalid", "invalid_data"),
        (measured(r#"{"id":"a","amount":1,"parts":[[0]]}"#), "invalid", "invalid_data"),
    ])
    .await;
}
