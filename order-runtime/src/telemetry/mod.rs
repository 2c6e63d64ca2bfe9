//! Logs and metrics of the running service.
//!
//! | module | the question it answers |
//! |---|---|
//! | `logs` | how are log lines written, and how do they name the event of a processor? |
//! | `log_sink` | how do log lines leave without waiting for their reader? |
//! | `metrics` | what is counted and measured? |
//! | `publisher` | how are published records counted and traced? |

mod log_sink;
pub(crate) mod logs;
pub(crate) mod metrics;
mod publisher;

pub(crate) use logs::{colours, init};
pub(crate) use publisher::ObservedPublisher;
