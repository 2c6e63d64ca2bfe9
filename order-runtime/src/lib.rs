//! Runs declared event processors on Kafka.

pub mod broker;
mod cli;
pub mod config;
pub mod dispatch;
mod dispatcher;
pub mod engine;
pub mod envelope;
mod http;
mod intake;
pub mod prelude;
pub mod registry;
mod reload;
mod service;
pub mod store;
mod telemetry;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

/// Writes async methods of a trait in tests, where an interface is implemented by hand.
pub use async_trait::async_trait;
pub use dispatcher::{Dispatcher, Random, SampleEvent, SampleFn};
pub use order_macros::dispatcher;

/// Runs the command that the process was started with: the service itself, or one of the tools beside it.
///
/// `main` of a service returns what this returns:
///
/// ```ignore
/// fn main() -> std::process::ExitCode {
///     order_runtime::run(my_service::dispatcher())
/// }
/// ```
///
/// The code is 0 when it was done, 1 when it failed, 2 for wrong use or wrong configuration.
pub fn run(dispatcher: Dispatcher) -> std::process::ExitCode {
    cli::run(dispatcher)
}
