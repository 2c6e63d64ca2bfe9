//! What a document says of one route.

use schemars::JsonSchema;
use serde_json::{Value, json};

/// For whom a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// For everybody who may connect.
    Open,
    /// For viewers and administrators, and for everybody with `APP_PUBLIC_READS`.
    Viewers,
    /// For administrators; viewers may read.
    Administrators,
}

/// One method of one path.
pub(crate) struct RouteDescription {
    /// As OpenAPI writes it: `get`.
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) summary: &'static str,
    pub(crate) query: Vec<Parameter>,
    /// Statuses beside 200 and what they mean.
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
        // What may be left out is of type `[…, "null"]`.
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
