//! Metrics: recorded by the engine, read on request.
//!
//! | module | the question it answers |
//! |---|---|
//! | `recorded` | what is measured while events are handled? |
//! | `histogram` | how is a duration kept without a lock? |
//!
//! Nothing is recorded for a single event: partition owners record the totals of a batch after its commit. Labels are events of
//! the registry, topics, partitions and fixed words, so their number is bounded and none of them is personal data.

pub(crate) mod histogram;
mod recorded;

pub(crate) use histogram::Distribution;
pub(crate) use recorded::{Metrics, Refusal, Timing, TopicMetrics};
