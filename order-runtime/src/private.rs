//! Items that the expansions of `order-macros` refer to. Not part of the public interface.

#[path = "private/bench.rs"]
pub mod bench;

pub use async_trait;
pub use garde;
pub use linkme;
pub use order_macros::problem;
pub use schemars;
pub use serde;

pub use crate::{
    dispatch::{Class, Contract, Delivery, Event, Failure, Handler, Injectable, Invalid, Outcome, Schema, decode_data},
    model::{IdRule, InvalidId, OnExhausted, RetryPolicy, UnknownValue},
    registry::{
        ContractEntry, EntityEntry, ORDER_RUNTIME_CONTRACTS, ORDER_RUNTIME_ENTITIES, ORDER_RUNTIME_PROCESSORS,
        ORDER_RUNTIME_SCHEMAS, ORDER_RUNTIME_USECASES, Place, ProcessorEntry, SchemaEntry, UsecaseEntry, entities,
    },
    store::{Entity, EntityType, table},
};

/// The event of a delivery. Its type is inferred from the processor.
pub fn event<T: Schema>(delivery: &Delivery) -> Result<Event<T>, Outcome> {
    delivery.event()
}

/// An argument of a processor. Its type is inferred from the processor.
pub fn inject<T: Injectable>(delivery: &Delivery) -> T {
    T::inject(delivery)
}

/// Converts a processor's result to an outcome.
pub fn outcome<E: Failure>(result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(error.into()),
    }
}

/// A contract of a delivery.
pub fn contract<C: Contract>(delivery: &Delivery) -> C {
    C::inject(delivery)
}

/// Checks JSON text against an input schema.
pub fn check<T: Schema>(json: &str) -> Result<(), Invalid> {
    T::decode(json).map(drop)
}

/// The check of an output schema: always an error, because no event carries one.
pub fn not_an_input(_: &str) -> Result<(), Invalid> {
    Err(Invalid::at("$", "is described by an output schema, which no event carries"))
}
