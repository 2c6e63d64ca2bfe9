//! Calls the function that handles a decoded event, and turns its result into an outcome.

mod delivery;
mod emit;
mod event;
mod failure;
mod schema;
mod working_set;

use std::{borrow::Cow, future::Future, pin::Pin};

pub use delivery::Delivery;
pub(crate) use delivery::{Contracts, DeliveryParts, DeliveryShared};
pub(crate) use emit::EMITTED_BY;
pub use emit::{EmitError, Emitter};
pub use event::Event;
pub use failure::{Class, Failed, Failure};
pub(crate) use schema::shown;
pub use schema::{Invalid, Schema, Violation, decode_data};
pub use working_set::WorkingSet;

/// The function that `#[event_processor]` generates: decodes the event, injects the arguments and calls the processor.
pub type Handler = fn(Delivery) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The event is handled; its changes count.
    Done,
    /// The event's data does not fit the schema.
    Invalid(Invalid),
    /// The processor returned an error.
    Failed(FailedAttempt),
}

/// A processor's error, reduced to what the delivery engine needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The treatment of the event.
    pub class: Class,
    /// The failure's code.
    pub code: Cow<'static, str>,
    /// The failure's text and those of its causes.
    pub message: String,
}

impl<E: Failure> From<E> for FailedAttempt {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self { class: error.class(), code: error.code(), message }
    }
}

/// A type that an event processor can take as an argument after the event.
///
/// Implemented by the services that `#[usecase]` generates, by working sets, and by `#[derive(Injectable)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an event processor",
    label = "not injectable",
    note = "take a service (`SERVICE_<Feature>`), a working set (`WorkingSet<Entity>`), or a type with `#[derive(Injectable)]`"
)]
pub trait Injectable: Sized {
    /// Builds the argument for the event of `delivery`.
    fn inject(delivery: &Delivery) -> Self;
}

/// A concrete implementation of a feature's interface: implemented by `#[contract]` on the struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a contract",
    label = "its struct lacks `#[contract]`",
    note = "write `#[contract]` on the struct too: it says how the struct is built for one event"
)]
pub trait Contract: Injectable + Send + 'static {}
