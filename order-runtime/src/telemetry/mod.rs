//! What the service tells of itself while it runs.
//!
//! | module | the question it answers |
//! |---|---|
//! | `logs` | how are log lines written, and what stands in those of a processor? |
//! | `log_sink` | how do log lines leave without waiting for their reader? |
//! | `metrics` | what is counted and measured, and how is it told? |
//! | `trace` | how is the way of one event shown? |
//! | `otlp` | how do traces and metrics come to a collector? |
//! | `dashboards` | which graphs and alerts fit what is declared? |
//! | `publisher` | what is seen of records that leave? |

pub(crate) mod dashboards;
mod log_sink;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod otlp;
mod publisher;
pub(crate) mod trace;

pub(crate) use logs::{colours, init};
pub(crate) use publisher::ObservedPublisher;
