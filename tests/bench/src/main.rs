//! Consumes `EXPECT_EVENTS` events of `KAFKA_TOPIC`, prints the cost as one line of JSON, and exits.

#![forbid(unsafe_code)]

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

/// The default settings of a benchmark.
const DEFAULTS: [(&str, &str); 6] = [
    ("STORE_URL", "memory"),
    ("APP_PORT", "0"),
    ("APP_RELOAD", "false"),
    ("KAFKA_EMBEDDED", "never"),
    ("LOG_LEVEL", "error"),
    ("NO_COLOR", "1"),
];

fn main() -> ExitCode {
    let unset: Vec<_> = DEFAULTS.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if !unset.is_empty() {
        // A process cannot safely change its own environment, so it restarts itself with another one.
        let this = std::env::current_exe();
        let error = match this {
            Ok(this) => Command::new(this).args(std::env::args_os().skip(1)).envs(unset).exec(),
            Err(error) => error,
        };
        return order_bench::meter::wrong(&format!("cannot start again with its defaults: {error}"));
    }
    let mut dispatcher = order_bench::dispatcher();
    dispatcher.on_start = Some(order_bench::meter::start);
    order_runtime::run(dispatcher)
}
