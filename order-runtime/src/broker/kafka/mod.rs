//! Kafka by librdkafka.
//!
//! | module | the question it answers |
//! |---|---|
//! | `error` | what can be wrong before any record has moved? |
//! | `settings` | which properties does each client have? |
//! | `consumer` | how does the engine speak to the group member? |
//! | `membership` | when is a client made, given up, and made anew? |
//! | `poller` | what does the thread do that polls? |
//! | `duty` | who takes records, that thread or a worker of the runtime? |
//! | `bell` | how is a task called from a thread of librdkafka's? |
//! | `member` | what happens when partitions come and go? |
//! | `inbox` | where do records wait for their owner? |
//! | `room` | what if owners take less than arrives? |
//! | `reach`, `ends` | how far is a partition, and where does its log end? |
//! | `refetch` | what if fetching goes astray? |
//! | `group` | who else is in the group? |
//! | `metadata` | what does the cluster say of itself and of a partition? |
//! | `producer` | how do records leave, and which error is which? |
//! | `sender` | what does the thread do that has the producer? |
//! | `reader` | how is a range of a topic read outside of any group? |
//! | `retention` | do topics keep records for longer than ids are known, and is that of dead letters compacted? |
//! | `voice` | what becomes of librdkafka's own log? |
//! | `statistics` | what is read from librdkafka's statistics? |
//! | `ffi` | what does the Rust client not pass on? |

mod bell;
mod consumer;
mod duty;
mod ends;
mod error;
mod ffi;
mod group;
mod inbox;
mod member;
mod membership;
mod metadata;
mod poller;
mod producer;
mod reach;
mod reader;
mod refetch;
mod retention;
mod room;
mod sender;
mod settings;
mod statistics;
#[cfg(test)]
mod tests;
mod turns;
mod voice;

pub use consumer::KafkaConsumer;
pub use error::BrokerError;
pub use metadata::{Identity, MetadataClient};
pub use producer::KafkaPublisher;
pub use reader::TopicReader;
pub use retention::{compacted, outlasting};
pub use settings::check;
pub(crate) use settings::drain_limit;
