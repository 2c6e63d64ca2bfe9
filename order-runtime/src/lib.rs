//! Runs declared event processors on Kafka.

pub mod broker;
pub mod config;
pub mod dispatch;
mod dispatcher;
pub mod engine;
pub mod envelope;
pub mod prelude;
pub mod registry;
pub mod store;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use dispatcher::{Dispatcher, Random, SampleEvent, SampleFn};
pub use order_macros::dispatcher;
