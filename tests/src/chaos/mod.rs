//! Breaking the world around a service, and counting afterwards.
//!
//! The events are scripts for the domain in `tests/chaos`. A [`Run`] produces a [`Plan`] of them at its own pace, tests
//! kill, cut and starve what they like meanwhile, and a [`Report`] says what became of each event: from the topic, the
//! dead-letter topic and the store themselves, none of which is asked through the service.

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
