//! The description of one route in a document.

use schemars::JsonSchema;
use serde_json::{Value, json};

/// The clients that may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every client that can connect.
    Open,
    /// Viewers and administrators, or every client with `APP_PUBLIC_READS`.
    Viewers,
    /// Administrators; viewers may read.
    Administrators,
}

/// One method of one path.
pub(crate) struct RouteDescription {
    /// As OpenAPI writes it: `get`.
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) summary: &'static str,
    pub(crate) query: Vec<Parameter>,
    /// Statuses other than 200, with their meaning.
    pub(crate) answers: &'static [(&'static str, &'static str)],
    pub(crate) audience: Audience,
}

/// A parameter of a query.
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) about: String,
    /// A JSON Schema type: `string`, `integer`, `boolean`.
    pub(crate) kind: String,
}

/// The fields of a structure that a query is read into, with their doc comments.
pub(crate) fn parameters<P: JsonSchema>() -> Vec<Parameter> {
    let schema = schemars::schema_for!(P);
    let properties = schema.get("properties").and_then(Value::as_object);
    let parameter = |(name, property): (&String, &Value)| Parameter {
        name: name.clone(),
        about: property["description"].as_str().unwrap_or_default().replace('\n', " "),
        // An optional field has the type `[…, "null"]`.
        kind: property.pointer("/type/0").unwrap_or(&property["type"]).as_str().unwrap_or("string").to_owned(),
    };
    properties.into_iter().flatten().map(parameter).collect()
}

impl Parameter {
    /// As OpenAPI writes it.
    pub(crate) fn document(&self) -> Value {
        json!({"name": self.name, "in": "query", "description": self.about, "schema": {"type": self.kind}})
    }
}
