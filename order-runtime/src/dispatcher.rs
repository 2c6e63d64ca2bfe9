//! The domain that `dispatcher!()` passes to [`run`](crate::run): its name, its entities and its sample data.

use std::sync::Arc;

use crate::{engine::observe::StatsView, store::EntityType};

/// A domain crate, linked and named.
///
/// `dispatcher!()` generates a function that returns it. Calling that function from `main` links the domain crate, and with it
/// every registration.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    /// The name of the domain: the prefix of metrics.
    pub name: &'static str,
    /// The version of the domain crate.
    pub version: &'static str,
    /// The name of the domain crate's package; `APP_RELOAD` builds it.
    pub package: &'static str,
    /// The folder of the domain crate's manifest at build time; `APP_RELOAD` watches it.
    pub manifest_dir: &'static str,
    /// The declared entities; the read model of each is at `/{table}`.
    pub entities: Vec<EntityType>,
    /// Generates sample data for `publish --sample`; `None` if the domain has none.
    pub sample: Option<SampleFn>,
    /// Called once after the service has started; for programs that observe the service from within.
    pub on_start: Option<fn(ReadStats)>,
}

/// Reads the counters of the running service.
pub type ReadStats = Arc<dyn Fn() -> StatsView + Send + Sync>;

impl Dispatcher {
    /// Adds the domain of another crate, so that one service runs the processors of both. The name, the version and the reloaded
    /// package are those of this one; so is the sample, if it has one. Every linked domain has registered its entities.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.sample = self.sample.or(other.sample);
        self.on_start = self.on_start.or(other.on_start);
        self
    }
}

/// Generates the events of the `index`-th sample entity, in order, from random numbers.
pub type SampleFn = fn(index: u64, random: &mut Random<'_>) -> Vec<SampleEvent>;

/// One event of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleEvent {
    /// The event's name.
    pub name: &'static str,
    /// The record's key.
    pub key: String,
    /// The event's data as JSON text.
    pub data: String,
}

/// Random numbers from a seed, so that a sample is reproducible.
pub struct Random<'a>(&'a mut dyn FnMut() -> u64);

impl<'a> Random<'a> {
    /// Takes its numbers from `source`, which must be evenly distributed.
    pub fn new(source: &'a mut dyn FnMut() -> u64) -> Self {
        Self(source)
    }

    /// A number from 0 up to, not including, `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.0)().checked_rem(end).unwrap_or_default()
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl std::fmt::Debug for Random<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}
