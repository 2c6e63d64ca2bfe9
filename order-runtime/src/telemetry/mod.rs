//! What the service tells of itself while it runs.
//!
//! | module | the question it answers |
//! |---|---|
//! | `logs` | how are log lines written, and what stands in those of a processor? |
//! | `metrics` | what is counted and measured, and how is it told? |
//! | `publisher` | what is counted of records that leave? |

pub(crate) mod logs;
pub(crate) mod metrics;
mod publisher;

pub(crate) use logs::{colours, init};
pub(crate) use publisher::ObservedPublisher;
