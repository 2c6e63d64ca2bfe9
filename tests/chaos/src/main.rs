//! A service with scripted events, for tests.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    order_runtime::run(order_chaos::dispatcher())
}
