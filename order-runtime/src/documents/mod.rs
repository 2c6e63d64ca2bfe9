//! Documents generated from the declarations, for people and programs outside. They need neither a broker nor a store.
//!
//! | module | the question it answers |
//! |---|---|
//! | `events` | what does an event look like? (JSON Schema) |
//! | `exact` | which rules hold for every event, and are part of each schema? |
//! | `asyncapi` | which topics are read and written? |
//! | `openapi`, `route` | which HTTP routes are there? |
//! | `compatible` | does a document still promise what an earlier one did? |

mod asyncapi;
mod compatible;
mod events;
mod exact;
mod openapi;
mod route;
#[cfg(test)]
mod tests;

pub(crate) use compatible::broken;
pub(crate) use route::{Audience, Parameter, RouteDescription, parameters};
use serde_json::Value;

use crate::{config::Config, dispatcher::Dispatcher, registry::Registry};

/// The declarations that documents are generated from.
pub(crate) struct Declared<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) config: &'a Config,
    pub(crate) registry: &'a Registry,
    /// The HTTP routes. This is a function, because the module `http` depends on this one.
    pub(crate) routes: fn(&Dispatcher) -> Vec<RouteDescription>,
}

/// The kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// JSON Schema of every event.
    Schema,
    AsyncApi,
    OpenApi,
}

/// Generates a document.
pub(crate) fn document(kind: Kind, declared: &Declared<'_>) -> Value {
    match kind {
        Kind::Schema => events::schema(declared),
        Kind::AsyncApi => asyncapi::document(declared),
        Kind::OpenApi => openapi::document(declared),
    }
}
