//! Processes the life of orders from Kafka events.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    order_runtime::run(order_service::dispatcher())
}
