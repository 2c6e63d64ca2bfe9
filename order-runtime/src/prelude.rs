//! The one `use` of a domain file.

pub use order_macros::{
    Failure, Injectable, contract, entity, event_processor, id, interface, schema, usecase, values,
};
pub use serde_json::Value;

pub use crate::{
    dispatch::{EmitError, Emitter, Event, Failed, Failure, Injectable, Schema, WorkingSet},
    store::Entity,
};
