//! What `dispatcher!()` hands to [`run`](crate::run): the domain's name, its entities and its sample data.

use std::sync::Arc;

use crate::{engine::observe::Operations, store::EntityType};

/// A domain crate, linked and named.
///
/// `dispatcher!()` generates a function that returns it. Calling that function from `main` is what links the domain crate, and
/// with it every registration.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    /// The name of the domain: mounts the read model at `/{name}` and prefixes metrics.
    pub name: &'static str,
    /// The version of the domain crate.
    pub version: &'static str,
    /// The name of the domain crate's package; what `APP_RELOAD` builds.
    pub package: &'static str,
    /// The folder of the domain crate's manifest at build time; what `APP_RELOAD` watches.
    pub manifest_dir: &'static str,
    /// The domain's entities; the first one's read model is at `/{name}`.
    pub entities: Vec<EntityType>,
    /// Makes sample data for `publish --sample`; `None` where the domain has none.
    pub sample: Option<SampleFn>,
    /// Called once when the service has started, with what it shows of itself; for programs that watch it from within.
    pub on_start: Option<fn(Arc<dyn Operations>)>,
}

/// Makes the life of the `index`-th sample entity from random numbers: its events in order.
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

/// Random numbers of a seed, so that a sample can be made again.
pub struct Random<'a>(&'a mut dyn FnMut() -> u64);

impl<'a> Random<'a> {
    /// Numbers from a source of evenly distributed ones.
    pub fn new(source: &'a mut dyn FnMut() -> u64) -> Self {
        Self(source)
    }

    /// A number from 0 up to, not including, `end`; 0 where `end` is 0.
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
