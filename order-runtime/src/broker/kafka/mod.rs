//! Kafka by librdkafka.
//!
//! | module | the question it answers |
//! |---|---|
//! | `settings` | which properties does each client have? |
//! | `consumer` | what does the thread do that polls, and how is it spoken to? |
//! | `member` | what happens when partitions come and go? |
//! | `inbox` | where do records wait for their owner? |
//! | `inquirer` | what does the cluster say of itself and of a partition? |
//! | `producer` | how do records leave, and which error is which? |
//! | `reader` | how is a range of a topic read outside of any group? |
//! | `voice` | what becomes of librdkafka's own log? |
//! | `ffi` | what does the Rust client not pass on? |

mod consumer;
mod ffi;
mod inbox;
mod inquirer;
mod member;
mod producer;
mod reader;
mod settings;
#[cfg(test)]
mod tests;
mod voice;

pub use consumer::KafkaConsumer;
pub use inquirer::{Identity, Inquirer};
pub use producer::KafkaPublisher;
pub use reader::TopicReader;
pub use settings::check;
pub(crate) use settings::drain_limit;
