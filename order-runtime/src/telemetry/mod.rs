//! What the service tells of itself while it runs.
//!
//! | module | the question it answers |
//! |---|---|
//! | `logs` | how are log lines written, and what stands in those of a processor? |
//! | `log_sink` | how do log lines leave without waiting for their reader? |
//! | `metrics` | what is counted and measured? |
//! | `publisher` | what is seen of records that leave? |

mod log_sink;
pub(crate) mod logs;
pub(crate) mod metrics;
mod publisher;

pub(crate) use logs::{colours, init};
pub(crate) use publisher::ObservedPublisher;
