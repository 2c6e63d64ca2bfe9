//! Ingest of events from the command line and HTTP: checks them as a processor will see them, then makes records of them.

mod cloud_events;

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};
use uuid::Uuid;

use crate::{
    decode,
    dispatch::Violation,
    dispatcher::Dispatcher,
    model::{HeaderBlock, OutgoingRecord, RecordBatch},
    registry::{Lookup, ProcessorEntry, Registry},
    store::EntityType,
};

/// Checks events and makes records of them.
#[derive(Debug, Clone)]
pub(crate) struct Ingest {
    registry: Arc<Registry>,
    topic: String,
    /// The fields of an event's data that may be the record's key if the caller names none. The first field present is used.
    entities: Vec<EntityType>,
}

/// An event that passed all checks.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    /// Its id.
    pub(crate) id: String,
    /// The record to publish.
    pub(crate) record: OutgoingRecord,
}

/// The envelope in its serialized form.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    event_id: &'a str,
    event_name: &'a str,
    version: u32,
    occurred_at: String,
    data: &'a RawValue,
}

impl Ingest {
    /// Publishes events to `topic`. The default key is the id of the first entity that the data names.
    pub(crate) fn new(registry: Arc<Registry>, dispatcher: &Dispatcher, topic: &str) -> Self {
        Self { registry, topic: topic.to_owned(), entities: dispatcher.entities.clone() }
    }

    /// Checks a whole event, in any form that the service consumes, and adds an id and a time if they are missing. A
    /// `CloudEvent` stays a `CloudEvent`, with its source and its extensions.
    ///
    /// # Errors
    /// All violations that were found, each with its JSON path in the event.
    pub(crate) fn event(&self, json: &[u8], key: Option<&str>) -> Result<Accepted, Vec<Violation>> {
        let mut batch = RecordBatch::default();
        batch.push(0, None, None, Some(json), []);
        let record = batch.get(0).unwrap_or_else(|| unreachable!("one record was pushed"));
        let envelope = decode::decode(&record).map_err(|error| vec![violation("$", error.message)])?;
        if envelope.source.is_some() {
            return self.structured(json, &envelope, key);
        }
        let id = envelope.id.as_deref().map_or_else(|| Uuid::new_v4().to_string(), ToOwned::to_owned);
        self.build(&id, &envelope.name, envelope.version, envelope.occurred_at, &envelope.data, key)
    }

    /// Checks the data of an event of that name and adds the envelope.
    ///
    /// # Errors
    /// All violations that were found, each with its JSON path in the event.
    pub(crate) fn data(
        &self,
        name: &str,
        version: u32,
        data: &str,
        key: Option<&str>,
    ) -> Result<Accepted, Vec<Violation>> {
        self.build(&Uuid::new_v4().to_string(), name, version, None, data, key)
    }

    fn build(
        &self,
        id: &str,
        name: &str,
        version: u32,
        occurred_at: Option<Timestamp>,
        data: &str,
        key: Option<&str>,
    ) -> Result<Accepted, Vec<Violation>> {
        let entry = check(&self.registry, name, version, data)?;
        let key = self.key(key, entry, data);
        let occurred_at = occurred_at.unwrap_or_else(Timestamp::now);
        let record = self.record(id, name, version, occurred_at, data, key.as_deref())?;
        accepted(id, record)
    }

    /// Builds the record of an event without checking its data against a schema.
    pub(crate) fn record(
        &self,
        id: &str,
        name: &str,
        version: u32,
        occurred_at: Timestamp,
        data: &str,
        key: Option<&str>,
    ) -> Result<OutgoingRecord, Vec<Violation>> {
        let data: &RawValue =
            serde_json::from_str(data).map_err(|error| vec![violation("$.data", format!("is not JSON: {error}"))])?;
        let written = Written { event_id: id, event_name: name, version, occurred_at: occurred_at.to_string(), data };
        let payload = serde_json::to_vec(&written).map_err(|error| vec![violation("$", error.to_string())])?;
        Ok(OutgoingRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            key: key.map(|key| key.as_bytes().to_vec().into()),
            payload: Some(payload.into()),
            headers: HeaderBlock::default(),
            timestamp: None,
        })
    }

    /// The given key or, without one, the id of the entity that the data names first.
    fn key(&self, given: Option<&str>, entry: &ProcessorEntry, data: &str) -> Option<String> {
        if let Some(given) = given {
            return Some(given.to_owned());
        }
        let data: Map<String, Value> = serde_json::from_str(data).ok()?;
        let text_of = |field: &str| match data.get(field)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match entry.input.and_then(|input| self.registry.schema(input)) {
            Some(schema) => {
                let mut ids = schema.fields.iter().filter(|(field, of)| self.is_id(field, of));
                ids.find_map(|(field, _)| text_of(field))
            }
            None => self.entities.iter().find_map(|entity| text_of(&id_field(entity))),
        }
    }

    /// Whether a field holds the id of an entity: it has the id's type, or its usual name.
    fn is_id(&self, field: &str, of: &str) -> bool {
        // A `String` may be anything.
        self.entities.iter().any(|entity| (of == entity.id_type && of != "String") || field == id_field(entity))
    }
}

/// The usual JSON name of a field that holds an entity's id: the entity's name in lowerCamelCase, followed by `Id`.
fn id_field(entity: &EntityType) -> String {
    let mut name = entity.name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    name + "Id"
}

/// Accepts an event if the service can decode its record, as it would after consuming it from Kafka.
fn accepted(id: &str, record: OutgoingRecord) -> Result<Accepted, Vec<Violation>> {
    let mut batch = RecordBatch::default();
    batch.push(0, None, None, record.payload.as_deref(), &record.headers);
    let consumed = batch.get(0).unwrap_or_else(|| unreachable!("one record was pushed"));
    decode::decode(&consumed).map_err(|error| vec![violation("$", error.message)])?;
    Ok(Accepted { id: id.to_owned(), record })
}

/// Checks an event against the schema of the processor that will handle it, and returns that processor.
pub(crate) fn check(
    registry: &Registry,
    name: &str,
    version: u32,
    data: &str,
) -> Result<&'static ProcessorEntry, Vec<Violation>> {
    let entry = match registry.find(name, version) {
        Lookup::Found(_, entry) => entry,
        Lookup::UnknownEvent => {
            let known = registry.processors().iter().map(|entry| entry.event);
            let nearest = known
                .map(|known| (strsim::normalized_damerau_levenshtein(known, name), known))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let hint = nearest.filter(|(similarity, _)| *similarity > 0.6).map_or_else(
                || "`processors` lists the known events".to_owned(),
                |(_, known)| format!("did you mean {known}?"),
            );
            return Err(vec![violation("$.eventName", format!("no processor handles `{name}`; {hint}"))]);
        }
        Lookup::UnknownVersion => {
            let known = registry.processors().iter().filter(|entry| entry.event == name);
            let known: Vec<String> = known.map(|entry| entry.version.to_string()).collect();
            let text =
                format!("no processor handles version {version} of {name}; known versions: {}", known.join(", "));
            return Err(vec![violation("$.version", text)]);
        }
    };
    let checked = match entry.input.and_then(|input| registry.schema(input)) {
        Some(schema) => (schema.check)(data),
        None => <Value as crate::dispatch::Schema>::decode(data).map(drop),
    };
    checked.map(|()| entry).map_err(|invalid| invalid.in_event().violations)
}

fn violation(path: impl Into<String>, message: impl Into<String>) -> Violation {
    Violation { path: path.into(), message: message.into() }
}

/// Splits the body of `POST /events` or a file into events: one event, or several in an array.
pub(crate) fn split(json: &[u8]) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
    if json.trim_ascii_start().starts_with(b"[") {
        return serde_json::from_slice(json);
    }
    serde_json::from_slice::<Box<RawValue>>(json).map(|one| vec![one])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, iter, time::Duration};

    use super::*;
    use crate::{
        dispatch::Outcome,
        model::{OnExhausted, RetryPolicy},
        registry::Place,
    };

    static ADDED: ProcessorEntry = ProcessorEntry {
        event: "Added",
        version: 1,
        name: "EventProcessor_Added",
        summary: "",
        input: None,
        arguments: &[],
        policy: RetryPolicy {
            retries: 0,
            backoff: Duration::ZERO,
            backoff_max: Duration::ZERO,
            timeout: Duration::from_secs(1),
            on_exhausted: OnExhausted::DeadLetter,
        },
        place: Place { file: "", line: 1, module: "" },
        handler: |_| Box::pin(async { Outcome::Done }),
    };

    #[test]
    fn data_that_the_service_would_refuse_is_refused_alone_and_in_an_envelope() {
        let registry =
            Registry::from_entries(iter::once(&ADDED), iter::empty(), iter::empty(), iter::empty(), &BTreeMap::new());
        let registry = Arc::new(registry.expect("one processor does not conflict"));
        let ingest = Ingest { registry, topic: "things".to_owned(), entities: Vec::new() };
        for (data, fits) in
            [(r#"{"a":"b"}"#, true), (r#"{"a":"\u0000"}"#, false), ("{\"a\":\"\0\"}", false), ("{", false)]
        {
            let event = format!(r#"{{"eventName":"Added","data":{data}}}"#);
            assert_eq!(ingest.data("Added", 1, data, None).is_ok(), fits, "{data}");
            assert_eq!(ingest.event(event.as_bytes(), None).is_ok(), fits, "{data}");
        }
    }
}
