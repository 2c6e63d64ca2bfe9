//! The harness of the system tests: the real binary as a child process, on the embedded broker or on a real Kafka.
//!
//! A test describes a [`Deployment`] (broker, topics, store, settings), starts a [`Service`] of it as often as it likes,
//! and asks [`accounting`] whether every record of the topic has come to the end that [`oracle`] says it must have.
//! Nothing here links the service: what the tests know of it is what its users know, the interface.

#![allow(clippy::missing_panics_doc, reason = "panicking is how a test says no")]
#![allow(clippy::print_stderr, reason = "a failed test prints the logs of its processes; a skipped one says so")]

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
pub use proxy::{Proxy, Weather};
pub use service::{Answer, Service};
pub use topic::{NewRecord, Record, Topic};
pub use wait::{PATIENCE, eventually, until};
