//! The delivery engine: from records to committed effects, exactly once in the store, order kept, nothing lost.
//!
//! | module | the question it answers |
//! |---|---|
//! | `assignment::coordinator` | which partitions does this process own, and which task owns each? |
//! | `assignment::start` | where does an assigned partition begin? |
//! | `assignment::ended` | which owners have ended without dying? |
//! | `assignment::orphaned` | what becomes of waiting events whose partition is assigned to nobody here? |
//! | `partition` | what does the one task do that owns a partition? |
//! | `partition::quarantine` | which event kills its process, or has data that the store refuses? |
//! | `partition::recovery` | what if the store or the log is not as the owner knows it? |
//! | [`release`] | how does an operator release waiting keys? |
//! | `partition::turns` | which partitions may run events at the same time? |
//! | `partition::committer` | which batches share a transaction? |
//! | `batch` | in which order are a batch's events handled, and which wait? |
//! | `batch::load` | what does a batch ask the store for? |
//! | `batch::prepare` | which processor is to be called for a record, if any? |
//! | `batch::attempt`, `batch::running` | how is a processor called, awaited, and survived? |
//! | `batch::settle` | what becomes of an event after an attempt? |
//! | `batch::effects` | what will a batch change? |
//! | [`dead_letter`] | what does a dead letter contain? |
//! | `batch::timing`, `batch::trace` | how long do attempts take, and which spans do they leave? |
//! | `retry` | when is a failed event tried again? |
//! | `retry::breaker` | what if most events of a processor fail alike? |
//! | `retry::waiting` | which keys wait, and until when? |
//! | `outbox` | when do dead letters and emitted events leave? |
//! | `retention` | what is forgotten, and when? |
//! | [`observe`] | what is shown of all this? |
//! | `observe::progress`, `observe::health` | does it move, and if not, why? |
//! | `observe::event_log` | what does the log say of single events? |

mod assignment;
mod batch;
mod clock;
pub mod observe;
mod outbox;
mod partition;
mod retention;
pub(crate) mod retry;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod tests;

use std::{sync::Arc, time::Duration};

pub use assignment::coordinator::{EngineEnd, EngineHandle, Parts, start};
pub(crate) use batch::dead_letter;
pub use clock::{Clock, SystemClock};
pub use partition::release;

use self::{
    assignment::orphaned::OrphanState,
    observe::status::Status,
    outbox::OutboxState,
    partition::{committer::Committer, turns::Turns},
    retry::breaker::Breakers,
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
