//! The order service: processes order events from Kafka.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    order_runtime::run(order_service::dispatcher())
}
