//! Metrics: counted and measured by the engine, read when somebody asks.
//!
//! | module | the question it answers |
//! |---|---|
//! | `recorded` | what is measured while events are handled? |
//! | `histogram` | how is a duration kept without a lock? |
//!
//! Nothing here is done for a single event: owners hand over what a batch adds, once it is committed. Labels are events of
//! the registry, topics, partitions and fixed words, so their number is bounded and none of them is anybody's data.

pub(crate) mod histogram;
mod recorded;

pub(crate) use histogram::Distribution;
pub(crate) use recorded::{Metrics, Refusal, Timing, TopicMetrics};
