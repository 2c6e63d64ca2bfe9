//! Ingest of `CloudEvent`s over HTTP. They are published as `CloudEvent`s, so that their source, which is part of their
//! identity, and their extensions reach every consumer:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Accepted, Ingest, accepted, check, violation};
use crate::{
    decode::{self, Envelope},
    dispatch::Violation,
    model::{HeaderBlock, OutgoingRecord, RecordBatch},
};

/// The prefix of attributes in HTTP headers; in Kafka headers it is `ce_`.
const HTTP_PREFIX: &str = "ce-";

impl Ingest {
    /// Checks a `CloudEvent` in binary mode: attributes from `ce-` headers, as HTTP writes them, and data from the body.
    ///
    /// # Errors
    /// All violations that were found, each with its JSON path in the event.
    pub(crate) fn binary<'h>(
        &self,
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
        content_type: &str,
        body: &[u8],
        key: Option<&str>,
    ) -> Result<Accepted, Vec<Violation>> {
        let mut kafka = HeaderBlock::default();
        kafka.push_text("content-type", content_type);
        for (name, value) in headers {
            let Some(attribute) = name.strip_prefix(HTTP_PREFIX) else { continue };
            let value = percent_decoded(value)
                .ok_or_else(|| vec![violation("$", format!("the header {name} is not percent-encoded UTF-8"))])?;
            kafka.push_text(&format!("ce_{attribute}"), &value);
        }
        let mut batch = RecordBatch::default();
        batch.push(0, None, None, Some(body), &kafka);
        let record = batch.get(0).unwrap_or_else(|| unreachable!("one record was pushed"));
        if record.header("ce_specversion").is_none() {
            return Err(vec![violation("$", "the header ce-specversion is missing; binary mode needs it")]);
        }
        let envelope = decode::decode(&record).map_err(|error| vec![violation("$", error.message)])?;
        let entry = check(&self.registry, &envelope.name, envelope.version, &envelope.data)?;
        let id = match envelope.id.as_deref() {
            Some(id) => id.to_owned(),
            None => {
                let id = Uuid::new_v4().to_string();
                kafka.push_text("ce_id", &id);
                id
            }
        };
        if envelope.occurred_at.is_none() {
            kafka.push_text("ce_time", &Timestamp::now().to_string());
        }
        accepted(&id, self.outgoing(body.to_vec(), kafka, self.key(key, entry, &envelope.data)))
    }

    /// Checks a `CloudEvent` in structured mode.
    pub(super) fn structured(
        &self,
        json: &[u8],
        envelope: &Envelope<'_>,
        key: Option<&str>,
    ) -> Result<Accepted, Vec<Violation>> {
        let entry = check(&self.registry, &envelope.name, envelope.version, &envelope.data)?;
        let not_json = |error: serde_json::Error| vec![violation("$", error.to_string())];
        let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json).map_err(not_json)?;
        let mut complete = |name: &str, value: &str| -> Result<(), Vec<Violation>> {
            let value = RawValue::from_string(format!("\"{value}\"")).map_err(not_json)?;
            members.insert(name.to_owned(), value);
            Ok(())
        };
        let id = match envelope.id.as_deref() {
            Some(id) => id.to_owned(),
            None => {
                let id = Uuid::new_v4().to_string();
                complete("id", &id)?;
                id
            }
        };
        if envelope.occurred_at.is_none() {
            complete("time", &Timestamp::now().to_string())?;
        }
        let payload = serde_json::to_vec(&members).map_err(not_json)?;
        let mut headers = HeaderBlock::default();
        headers.push_text("content-type", "application/cloudevents+json; charset=UTF-8");
        accepted(&id, self.outgoing(payload, headers, self.key(key, entry, &envelope.data)))
    }

    fn outgoing(&self, payload: Vec<u8>, headers: HeaderBlock, key: Option<String>) -> OutgoingRecord {
        OutgoingRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            key: key.map(|key| key.into_bytes().into()),
            payload: Some(payload.into()),
            headers,
            timestamp: None,
        }
    }
}

/// Decodes a header's value. HTTP percent-encodes the UTF-8 bytes of all but printable ASCII: `%C3%A9` for `é`.
fn percent_decoded(value: &[u8]) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, behind) = rest.split_first_chunk::<2>()?;
        decoded.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = behind;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers_are_decoded() {
        for (value, expected) in [
            ("/shops/one", Some("/shops/one")),
            ("Caf%C3%A9 100%25", Some("Café 100%")),
            ("%zz", None),
            ("%C3", None),
            ("%C", None),
        ] {
            assert_eq!(percent_decoded(value.as_bytes()).as_deref(), expected, "{value}");
        }
    }
}
