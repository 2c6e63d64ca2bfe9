//! The delivery engine: turns records into committed effects. Effects are applied exactly once in the store,
//! the order of each key is kept, and no event is lost.
//!
//! | module | the question it answers |
//! |---|---|
//! | `assignment::coordinator` | which partitions does this process own, and which task owns each? |
//! | `assignment::start` | where does an assigned partition begin? |
//! | `assignment::ended` | which partition owners have ended in order? |
//! | `assignment::orphaned` | what happens to waiting events of orphaned partitions? |
//! | `partition` | what does a partition owner do? |
//! | `partition::quarantine` | which event kills the process, or has data that the store refuses? |
//! | `partition::recovery` | how does an owner recover when the store fails or the log has changed? |
//! | [`release`] | how does an operator release waiting keys? |
//! | `partition::turns` | which partitions may run events at the same time? |
//! | `partition::committer` | which batches share a transaction? |
//! | `batch` | in which order are the events of a batch handled, and which of them wait? |
//! | `batch::load` | what does a batch load from the store? |
//! | `batch::prepare` | which processor is called for a record, if any? |
//! | `batch::attempt`, `batch::running` | how is a processor called and awaited, and how are its panics caught? |
//! | `batch::settle` | what is the outcome of an event after an attempt? |
//! | `batch::effects` | what does a batch change when it is committed? |
//! | `batch::dead_letter` | what does a dead letter contain? |
//! | `batch::trace` | which spans do attempts export? |
//! | `retry` | when is a failed event tried again? |
//! | `retry::breaker` | what happens when most events of a processor fail with the same code? |
//! | `retry::waiting` | which keys wait, and until when? |
//! | `outbox` | when are dead letters and emitted events published? |
//! | `retention` | what is deleted from the store, and when? |
//! | [`observe`] | what do operators see of the engine? |
//! | `observe::progress`, `observe::health` | does each partition make progress, and if not, why? |
//! | `observe::event_log` | which single events are logged? |

mod assignment;
mod batch;
mod clock;
pub(crate) mod observe;
mod outbox;
mod partition;
mod retention;
pub(crate) mod retry;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod tests;

use std::{sync::Arc, time::Duration};

pub(crate) use assignment::coordinator::{EngineEnd, EngineHandle, Parts, start};
pub(crate) use batch::dead_letter;
pub(crate) use clock::{Clock, SystemClock};
pub(crate) use partition::release;

use self::{
    assignment::orphaned::OrphanState,
    observe::status::Status,
    outbox::OutboxState,
    partition::{committer::Committer, turns::Turns},
    retry::breaker::Breakers,
};
use crate::{
    broker::Consumer,
    config::{HeaderFormat, OffsetReset, OnTruncation},
    model::TopicPattern,
    registry::Registry,
    store::{EntityType, Store},
    telemetry::metrics::Metrics,
    trace::Tracer,
};

/// The configuration of the engine.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The consumer group.
    pub(crate) group: String,
    /// The consumed topics; an entry that starts with `^` is a pattern.
    pub(crate) topics: Vec<TopicPattern>,
    /// The topic of dead letters.
    pub(crate) dlq_topic: Arc<str>,
    /// Further header formats that dead letters carry.
    pub(crate) dlq_headers: Vec<HeaderFormat>,
    /// The service's version; it is written to dead letters.
    pub(crate) service_version: &'static str,
    /// Where a partition begins for which neither the store nor the group has an offset.
    pub(crate) reset: OffsetReset,
    /// What a partition does if its log ends before its position.
    pub(crate) on_truncation: OnTruncation,
    /// The upper bound on the time for which an event is retried.
    pub(crate) retry_max_elapsed: Option<Duration>,
    /// How long a revoked partition may take to finish its batch; below the session timeout.
    pub(crate) drain: Duration,
    /// How long the deduplication window of a key is kept after the last event of the key.
    pub(crate) retention: Duration,
    /// Whether the run is a shadow, whose effects are dropped. Its dead letters are then logged at debug level only.
    pub(crate) shadow: bool,
}

/// The state that all partitions share.
pub(crate) struct Engine {
    pub(crate) registry: Arc<Registry>,
    pub(crate) store: Arc<dyn Store>,
    /// The store's id, which is committed as metadata beside Kafka's offsets.
    pub(crate) store_id: String,
    pub(crate) consumer: Arc<dyn Consumer>,
    pub(crate) committer: Committer,
    pub(crate) outbox: Arc<OutboxState>,
    pub(crate) status: Arc<Status>,
    pub(crate) breakers: Breakers,
    pub(crate) turns: Arc<Turns>,
    pub(crate) orphans: OrphanState,
    pub(crate) entities: Vec<EntityType>,
    /// Whether deduplication windows are kept. A store that is not durable promises only at-least-once
    /// delivery, and without entities a repeated event changes nothing in it.
    pub(crate) remembers: bool,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    /// `None` if traces are not exported.
    pub(crate) tracer: Option<Arc<Tracer>>,
}
