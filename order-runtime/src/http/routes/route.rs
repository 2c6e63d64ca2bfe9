//! One route: what is served there, and what the OpenAPI document says of it. Both are made from this, so they cannot differ.

use axum::{
    Router,
    handler::Handler,
    routing::{self, MethodRouter},
};
use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::http::App;

/// For whom a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// For everybody who may connect.
    Open,
    /// For whoever may read: viewers and administrators, and everybody with `APP_PUBLIC_READS`.
    Viewers,
    /// For administrators; viewers may read.
    Administrators,
}

/// One method of one path.
pub(crate) struct Route {
    /// As OpenAPI writes it: `get`.
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) summary: &'static str,
    pub(crate) query: Vec<Parameter>,
    /// Statuses beside 200 and what they mean.
    pub(crate) answers: &'static [(&'static str, &'static str)],
    pub(crate) audience: Audience,
    handler: MethodRouter<App>,
}

/// A parameter of a query.
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) about: String,
    /// A JSON Schema type: `string`, `integer`, `boolean`.
    pub(crate) kind: String,
}

impl Route {
    pub(super) fn get<T: 'static>(path: &str, summary: &'static str, handler: impl Handler<T, App>) -> Self {
        Self::new("get", path, summary, routing::get(handler))
    }

    pub(super) fn post<T: 'static>(path: &str, summary: &'static str, handler: impl Handler<T, App>) -> Self {
        Self::new("post", path, summary, routing::post(handler))
    }

    pub(super) fn delete<T: 'static>(path: &str, summary: &'static str, handler: impl Handler<T, App>) -> Self {
        Self::new("delete", path, summary, routing::delete(handler))
    }

    fn new(method: &'static str, path: &str, summary: &'static str, handler: MethodRouter<App>) -> Self {
        Self {
            method,
            path: path.to_owned(),
            summary,
            query: Vec::new(),
            answers: &[],
            audience: Audience::Open,
            handler,
        }
    }

    /// Its query is read into a `P`.
    pub(super) fn query<P: JsonSchema>(self) -> Self {
        Self { query: parameters::<P>(), ..self }
    }

    pub(super) fn answers(self, answers: &'static [(&'static str, &'static str)]) -> Self {
        Self { answers, ..self }
    }

    pub(super) fn of(self, audience: Audience) -> Self {
        Self { audience, ..self }
    }

    /// Adds it to a router.
    pub(super) fn onto(self, router: Router<App>) -> Router<App> {
        router.route(&self.path, self.handler)
    }
}

/// The fields of a structure that a query is read into, with their doc comments.
fn parameters<P: JsonSchema>() -> Vec<Parameter> {
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
