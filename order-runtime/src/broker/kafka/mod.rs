//! The Kafka client, based on librdkafka.
//!
//! | module | contents |
//! |---|---|
//! | `error` | errors of creating a client and of its requests |
//! | `settings` | the librdkafka properties of each client |
//! | `consumer` | the engine's interface to the group member |
//! | `membership` | the lifetime of the poll thread and of its client, which is replaced if it is stuck |
//! | `poller` | the loop of the poll thread |
//! | `member` | the rebalance callback: partitions are assigned and revoked |
//! | `inbox` | the queue of records between the poll thread and a partition owner |
//! | `fetch_policy` | which partitions are fetched: backpressure, fairness, repair of stalled fetching |
//! | `fetching` | carries out the policy and the engine's commands: seeks, pauses, refetches |
//! | `progress`, `ends` | the progress of a partition, and the end of its log |
//! | `group` | the other members of the consumer group |
//! | `metadata` | requests about the cluster, its topics and partitions |
//! | `producer` | publishes records and classifies the errors |
//! | `sender` | the thread that owns the producer |
//! | `reader` | reads ranges of a topic outside of any group |
//! | `retention` | checks topic settings: retention, and compaction of the dead-letter topic |
//! | `log_throttle` | throttles librdkafka's log |
//! | `statistics` | the fields that are read from librdkafka's statistics |
//! | `ffi` | functions of librdkafka that the Rust client does not offer |

mod consumer;
mod ends;
mod error;
mod fetch_policy;
mod fetching;
mod ffi;
mod group;
mod inbox;
mod log_throttle;
mod member;
mod membership;
mod metadata;
mod poller;
mod producer;
mod progress;
mod reader;
mod retention;
mod sender;
mod settings;
mod statistics;
#[cfg(test)]
mod tests;

pub use consumer::KafkaConsumer;
pub use error::BrokerError;
pub use metadata::{Identity, MetadataClient};
pub use producer::KafkaPublisher;
pub use reader::TopicReader;
pub use retention::{compacted, outlasting};
pub use settings::check;
pub(crate) use settings::drain_limit;
