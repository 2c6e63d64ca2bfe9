//! Events as JSON Schema (draft 2020-12): the envelope around the data that each processor declares.

use serde_json::{Map, Value, json};

use super::{Declared, exact};
use crate::{
    decode::MAX_NAME,
    registry::{ProcessorEntry, Registry},
};

/// Schemas by name, and their place in the document.
pub(super) struct Definitions {
    /// The beginning of each reference, such as `#/$defs/`.
    base: &'static str,
    pub(super) schemas: Map<String, Value>,
    /// The names of the events among them.
    pub(super) events: Vec<String>,
}

impl Definitions {
    /// The events of the registry and all schemas that they refer to.
    pub(super) fn of(registry: &Registry, base: &'static str) -> Self {
        let mut definitions = Self { base, schemas: Map::new(), events: Vec::new() };
        for entry in registry.processors() {
            let name = name(entry);
            let data = match entry.input.and_then(|input| registry.schema(input)) {
                Some(input) => {
                    let mut schema = (input.schema)().to_value();
                    exact::add_rules(&mut schema);
                    definitions.add(input.name, schema)
                }
                None => json!(true),
            };
            definitions.schemas.insert(name.clone(), envelope(entry, &data));
            definitions.events.push(name);
        }
        definitions
    }

    pub(super) fn reference(&self, name: &str) -> Value {
        json!({"$ref": format!("{}{name}", self.base)})
    }

    /// Adds a schema and its inner schemas, and returns a reference to it. Inner types of two inputs may have the same name,
    /// so their names get the input's name as a prefix.
    fn add(&mut self, name: &str, mut schema: Value) -> Value {
        let inner = schema.as_object_mut().and_then(|fields| {
            fields.remove("$schema");
            fields.remove("$defs")
        });
        if let Some(Value::Object(inner)) = inner {
            for (own, mut inner) in inner {
                self.move_references(&mut inner, name);
                self.schemas.insert(format!("{name}.{own}"), inner);
            }
        }
        self.move_references(&mut schema, name);
        self.schemas.insert(name.to_owned(), schema);
        self.reference(name)
    }

    fn move_references(&self, schema: &mut Value, name: &str) {
        match schema {
            Value::Object(fields) => {
                for (field, value) in fields {
                    match value {
                        Value::String(target) if field == "$ref" => {
                            if let Some(own) = target.strip_prefix("#/$defs/") {
                                *target = format!("{}{name}.{own}", self.base);
                            }
                        }
                        other => self.move_references(other, name),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.move_references(value, name)),
            _ => {}
        }
    }
}

/// The name of an event in documents.
pub(super) fn name(entry: &ProcessorEntry) -> String {
    format!("{}.v{}", entry.event, entry.version)
}

fn envelope(entry: &ProcessorEntry, data: &Value) -> Value {
    // An event without a version, or with `null`, has version 1. Older senders write the version as a string.
    let (version, text) = (entry.version, entry.version.to_string());
    let (required, versions) = if version == 1 {
        (json!(["eventName", "data"]), json!([version, text, null]))
    } else {
        (json!(["eventName", "version", "data"]), json!([version, text]))
    };
    json!({
        "title": entry.event,
        "description": entry.summary,
        "type": "object",
        "required": required,
        "properties": {
            "eventId": {
                "type": ["string", "null"], "minLength": 1, "maxLength": MAX_NAME, "pattern": exact::WITHOUT_CONTROLS,
                "description": "Events with the same id count once. Without an id, the place in Kafka is the id.",
            },
            "eventName": {"const": entry.event},
            "version": {"enum": versions},
            "occurredAt": {"type": ["string", "null"], "format": "date-time"},
            "data": data,
        },
    })
}

/// The JSON Schema that every event matches.
pub(super) fn schema(declared: &Declared<'_>) -> Value {
    let definitions = Definitions::of(declared.registry, "#/$defs/");
    let events: Vec<Value> = definitions.events.iter().map(|name| definitions.reference(name)).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Events of {}", declared.config.app.name),
        "oneOf": events,
        "$defs": definitions.schemas,
    })
}
