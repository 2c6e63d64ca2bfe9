//! The delivery engine: from records to committed effects, exactly once in the store, order kept, nothing lost.
//!
//! | module | the question it answers |
//! |---|---|
//! | `ended` | which owners have ended without dying? |
//! | `start` | where does an assigned partition begin? |
//! | `owner` | what does the one task do that owns a partition? |
//! | `batch` | in which order are a batch's events handled, and which wait? |
//! | `prepare` | which processor is to be called for a record, if any? |
//! | `attempt`, `running` | how is a processor called, awaited, and survived? |
//! | `settle` | what becomes of an event after an attempt? |
//! | `turns` | which partitions may run events at the same time? |
//! | `load` | what does a batch ask the store for? |
//! | `waiting`, [`release`] | which keys wait, until when, and how does an operator release them? |
//! | `retry` | when is a failed event tried again? |
//! | `breaker` | what if most events of a processor fail alike? |
//! | `committer` | which batches share a transaction? |
//! | `dead_letter`, `relay` | how do records leave, and when? |
//! | `orphaned` | what becomes of events whose partition no assignment brings here? |
//! | `retention` | what is forgotten, and when? |
//! | `status`, `observe`, `view` | what is shown of all this? |
//! | `progress`, `health` | does it move, and if not, why? |
//! | `timing`, `trace` | how long do attempts take, and which spans do they leave? |
//! | `told` | what does the log say of single events? |

mod attempt;
mod batch;
mod breaker;
mod clock;
mod committer;
mod coordinator;
pub mod dead_letter;
mod effects;
mod ended;
mod health;
mod load;
pub mod observe;
mod orphaned;
mod owner;
mod prepare;
mod progress;
mod relay;
pub mod release;
mod retention;
pub(crate) mod retry;
mod running;
mod settle;
#[cfg(test)]
mod simulation;
mod start;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod timing;
mod told;
mod trace;
mod turns;
mod view;
mod waiting;

use std::{sync::Arc, time::Duration};

pub use clock::{Clock, SystemClock};
pub use coordinator::{Ended, EngineHandle, Parts, start};

use self::{
    breaker::Breakers, committer::Committer, orphaned::OrphanState, relay::OutboxState, status::Status, turns::Turns,
};
use crate::{
    broker::Consumer,
    config::{OffsetReset, OnTruncation},
    model::Dialect,
    registry::Registry,
    store::{EntityType, Store},
    telemetry::metrics::Metrics,
    trace::Tracer,
};

/// What the engine is told by configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The consumer group.
    pub group: String,
    /// The topics that are consumed; an entry that starts with `^` is a pattern.
    pub topics: Vec<String>,
    /// Where dead letters go.
    pub dlq_topic: Arc<str>,
    /// Further families of headers that dead letters carry.
    pub dlq_headers: Vec<Dialect>,
    /// The service's version, for dead letters.
    pub service_version: &'static str,
    /// Where a group without any position begins.
    pub reset: OffsetReset,
    /// What a partition does whose log ends before its position.
    pub on_truncation: OnTruncation,
    /// An upper bound on the time that an event is retried.
    pub retry_max_elapsed: Option<Duration>,
    /// How long a partition that is taken away may take to finish its batch; below the session timeout.
    pub drain: Duration,
    /// How long identities are kept after the last event of their key.
    pub retention: Duration,
    /// Whether nothing really happens, so that the log does not tell of dead letters that there will not be.
    pub shadow: bool,
}

/// What all partitions share.
pub(crate) struct Engine {
    pub(crate) registry: Arc<Registry>,
    pub(crate) store: Arc<dyn Store>,
    /// The store's id, as it stands beside Kafka's committed offsets.
    pub(crate) store_id: String,
    pub(crate) consumer: Arc<dyn Consumer>,
    pub(crate) committer: Committer,
    pub(crate) outbox: Arc<OutboxState>,
    pub(crate) status: Arc<Status>,
    pub(crate) breakers: Breakers,
    pub(crate) turns: Arc<Turns>,
    pub(crate) orphans: OrphanState,
    pub(crate) entities: Vec<EntityType>,
    /// Whether the identity of events is kept. A store that forgets promises at least once, and where it holds no entity there
    /// is nothing that a repeat would change.
    pub(crate) remembers: bool,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    /// Only where traces are exported.
    pub(crate) tracer: Option<Arc<Tracer>>,
}
