//! Metrics: counted and measured by the engine, read when somebody asks.
//!
//! | module | the question it answers |
//! |---|---|
//! | `recorded` | what is measured while events are handled? |
//! | `histogram` | how is a duration kept without a lock? |
//! | `family` | what is a metric, whoever reads it? |
//! | `families` | which metrics are there? |
//! | `process` | what does the system tell of the process? |
//! | `text` | how does Prometheus read them? |
//!
//! Nothing here is done for a single event: owners hand over what a batch adds, once it is committed. Labels are events of
//! the registry, topics, partitions and fixed words, so their number is bounded and none of them is anybody's data.

mod families;
pub(crate) mod family;
mod histogram;
mod process;
mod recorded;
pub(crate) mod text;

pub(crate) use families::Sources;
pub(crate) use histogram::Distribution;
#[cfg(test)]
pub(crate) use process::families as process;
pub(crate) use recorded::{Metrics, Refusal, Timing, TopicMetrics};
