//! The harness of the system tests: the real binary as a child process, on the embedded broker or on a real Kafka.
//!
//! A test creates a [`Deployment`] (broker, topics, store, settings), starts a [`Service`] in it any number of times, and checks
//! with [`accounting`] that every record of the topic has the outcome that [`oracle`] expects. The harness does not link the
//! service. Tests use only its public interface.

#![allow(clippy::missing_panics_doc, reason = "a test fails by a panic")]
#![allow(
    clippy::print_stderr,
    reason = "failed tests print the logs of their processes; skipped tests print the reason"
)]

pub mod accounting;
pub mod bench;
mod binary;
mod broker;
mod browser;
pub mod chaos;
mod collector;
mod deployment;
pub mod domain;
pub mod events;
mod kafka;
pub mod oracle;
mod postgres;
mod process;
mod proxy;
mod service;
mod topic;
mod wait;

pub use binary::{order_chaos, order_service};
pub use broker::{Broker, skip};
pub use browser::Browser;
pub use collector::{Collector, attribute};
pub use deployment::{Deployment, Finished, Spawned};
pub use kafka::Kafka;
pub use postgres::Postgres;
pub use process::free_port;
pub use proxy::{NetworkFaults, Proxy};
pub use service::{Answer, Service};
pub use topic::{NewRecord, Record, Topic, assert_records_are_read_as_written};
pub use wait::{PATIENCE, eventually, until};
