//! Runs declared event processors on Kafka.
//!
//! A service is a crate of declarations: the attributes of [`prelude`], and [`dispatcher!`] in its `lib.rs`. Its `main`
//! is one call of [`run`]; what the process then does is said by its command line and its environment.
//!
//! | module | the question it answers |
//! |---|---|
//! | [`model`] | which words does every room use? |
//! | [`prelude`] | what does a file of the domain bring into scope? |
//! | [`registry`] | what is declared, and does it fit together? |
//! | [`decode`] | which event is this record? |
//! | [`identity`] | was this event applied before? |
//! | [`unit_of_work`] | what do processors see and change before a commit? |
//! | [`dispatch`] | how is a processor called, and what follows from what it returns? |
//! | [`engine`] | when does an event count as handled, and what if it is not? |
//! | [`store`] | where are positions, entities and the identity of events kept, all in one transaction? |
//! | [`broker`] | how do records come from Kafka, and go to it? |
//! | [`config`] | what is set, by whom, and is it right? |
//!
//! Private are the rooms that nobody else needs: `cli`, `http`, `service` (start and end), `documents`, `ingest` (events from the
//! command line and HTTP), `dead_letters` (what operators do with them), `headers` (of dead letters), `range_replay`, `reload`,
//! `telemetry` (logs and what is measured), `trace`, and `exposition` (how metrics and traces leave).

/// An event costs some dozen small allocations, on one thread made and on another freed; see docs/decisions.md for the measurement.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod broker;
mod cli;
pub mod config;
mod dead_letters;
pub mod decode;
pub mod dispatch;
mod dispatcher;
mod documents;
pub mod engine;
mod exposition;
mod headers;
mod http;
pub mod identity;
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
pub mod unit_of_work;

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
/// ```no_run,standalone_crate
/// # order_runtime::dispatcher!(name = "things");
/// fn main() -> std::process::ExitCode {
///     order_runtime::run(dispatcher())
/// }
/// ```
///
/// The code is 0 when it was done, 1 when it failed, 2 for wrong use or wrong configuration.
pub fn run(dispatcher: Dispatcher) -> std::process::ExitCode {
    cli::run(dispatcher)
}
