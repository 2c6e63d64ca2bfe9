//! Runs declared event processors on Kafka.
//!
//! A service is a crate of declarations: the attributes of [`prelude`], and [`dispatcher!`] in its `lib.rs`. Its `main`
//! is one call of [`run`]; the command line and the environment decide what the process does.
//!
//! | module | the question it answers |
//! |---|---|
//! | [`prelude`] | what does a file of the domain bring into scope? |
//! | [`dispatch`] | how is a processor called, and what follows from what it returns? |
//! | [`store`] | how does a domain keep its entities? |
//! | [`registry`] | what is declared, and does it fit together? |
//! | [`model`], [`broker`], [`config`], [`decode`] | which types do the tests of a service share with the runtime? |
//!
//! All other modules are private; ARCHITECTURE.md lists them.

/// An event costs some dozen small allocations, made on one thread and freed on another; docs/decisions.md has the measurement.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(test)]
extern crate self as order_runtime;

pub mod broker;
mod cli;
pub mod config;
mod dead_letters;
pub mod decode;
pub mod dispatch;
mod dispatcher;
mod documents;
mod engine;
mod exposition;
mod headers;
mod http;
mod identity;
mod ingest;
pub mod model;
pub mod prelude;
mod range_replay;
pub mod registry;
mod reload;
mod service;
pub mod store;
mod telemetry;
mod trace;
mod unit_of_work;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

/// For tests that implement an interface by hand: allows async methods in the implementation.
pub use async_trait::async_trait;
pub use dispatcher::{Dispatcher, Random, ReadStats, SampleEvent, SampleFn};
pub use engine::observe::StatsView;
pub use order_macros::dispatcher;

/// Runs the command of the command line: the service, or one of its tools.
///
/// `main` of a service returns what this returns:
///
/// ```no_run,standalone_crate
/// # order_runtime::dispatcher!(name = "things");
/// fn main() -> std::process::ExitCode {
///     order_runtime::run(dispatcher())
/// }
/// ```
///
/// The exit code is 0 after success, 1 after a failure, 2 for wrong use or wrong configuration.
pub fn run(dispatcher: Dispatcher) -> std::process::ExitCode {
    cli::run(dispatcher)
}
