//! Records that are no event, or an event without a processor: each becomes a dead letter with its reason, byte for byte, and
//! the good events around it are not affected. Valid records that only look bad are in `accepted`.

mod accepted;
mod events;
mod payloads;
mod records;

use jiff::Timestamp;
use serde::Deserialize;

use super::rig::{Rig, header, partition};
use crate::{
    dispatch::{Delivery, Event, Invalid, Outcome, Schema, decode_data},
    model::{HeaderBlock, Headers, OutgoingRecord},
};

/// A text in payloads that no header of a dead letter may repeat.
const SECRET: &str = "s3cret";

/// Data with one field for each way in which a type can refuse a value.
#[derive(Debug, Deserialize, garde::Validate)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measure {
    #[garde(length(min = 1))]
    id: String,
    #[garde(range(min = 0))]
    amount: i64,
    #[serde(default)]
    #[garde(skip)]
    #[expect(dead_code, reason = "it is only decoded")]
    unit: Option<Unit>,
    #[serde(default)]
    #[garde(skip)]
    #[expect(dead_code, reason = "it is only decoded")]
    at: Option<Timestamp>,
    #[serde(default)]
    #[garde(dive)]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Unit {
    Metre,
}

#[derive(Debug, Deserialize, garde::Validate)]
struct Part {
    #[garde(range(min = 1))]
    count: u32,
}

impl Schema for Measure {
    fn decode(json: &str) -> Result<Self, Invalid> {
        decode_data(json, &[])
    }
}

/// The processor of `Measured`.
pub(super) fn measure(delivery: &Delivery) -> Outcome {
    let event: Result<Event<Measure>, _> = delivery.event();
    event.map_or_else(|outcome| outcome, |_| Outcome::Done)
}

/// A record with the key `bad` and these bytes as its payload.
pub(super) fn record(payload: impl Into<Vec<u8>>) -> OutgoingRecord {
    OutgoingRecord {
        topic: "things".into(),
        partition: None,
        key: Some(b"bad".to_vec().into()),
        payload: Some(payload.into().into()),
        headers: HeaderBlock::default(),
        timestamp: Some(1_700_000_000_000),
    }
}

/// An event `Added` with that JSON as its data.
fn added(data: &str) -> OutgoingRecord {
    record(format!(r#"{{"eventName":"Added","data":{data}}}"#))
}

/// An event `Measured` with that JSON as its data.
fn measured(data: &str) -> OutgoingRecord {
    record(format!(r#"{{"eventName":"Measured","data":{data}}}"#))
}

/// A record, and the expected reason and code of its dead letter.
type Case = (OutgoingRecord, &'static str, &'static str);

/// Sends each record between two good events, checks its dead letter and returns all dead letters.
async fn each_is_a_dead_letter(cases: Vec<Case>) -> Vec<OutgoingRecord> {
    let rig = Rig::start().await;
    rig.send("Added", "good", 0, "");
    for (record, ..) in &cases {
        rig.broker.append_record(&partition(), record);
        rig.send("Added", "good", 0, "");
        rig.send("Added", "bad", 0, "");
    }
    let letters = rig.dead_letters(cases.len()).await;
    rig.settled().await;
    for ((sent, reason, code), letter) in cases.iter().zip(&letters) {
        let shown = sent.payload.as_deref().map(|payload| String::from_utf8_lossy(&payload[..payload.len().min(120)]));
        let shown = format!("{shown:?} is {}", header(letter, "dlq-error-message"));
        assert_eq!(
            (header(letter, "dlq-reason"), header(letter, "dlq-error-code")),
            (reason.to_string(), code.to_string()),
            "{shown}"
        );
        assert_eq!((&letter.key, &letter.payload), (&sent.key, &sent.payload), "{shown}");
        let (kept, added) = letter.headers.as_bytes().split_at(sent.headers.size());
        assert_eq!(kept, sent.headers.as_bytes(), "{shown}");
        for (name, value) in Headers::decode(added) {
            let value = String::from_utf8_lossy(value.unwrap_or_default());
            assert!(!value.contains(SECRET), "{} repeats the payload: {shown}", String::from_utf8_lossy(name));
        }
    }
    let good = 1 + 2 * cases.len() as u64;
    assert_eq!((rig.stats().ok, rig.stats().dead_lettered), (good, cases.len() as u64));
    letters
}
