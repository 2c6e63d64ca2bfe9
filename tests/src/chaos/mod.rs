//! Fault injection around a service, with an account of every event.
//!
//! The events are scripts for the domain in `tests/chaos`. A [`Run`] produces a [`Plan`] of events at its own rate while tests
//! inject faults. A [`Report`] gives the outcome of each event. It reads the topic, the dead-letter topic and the store directly,
//! not through the service.

mod inspect;
mod kill;
mod plan;
mod producer;
mod report;
pub mod rounds;
mod run;
mod snapshot;

pub use kill::{Kill, kill_in_flight};
pub use plan::{Expected, Plan, Planned, Recipe};
pub use producer::Producer;
pub use report::Report;
pub use run::Run;
pub use snapshot::{Place, Snapshot};
