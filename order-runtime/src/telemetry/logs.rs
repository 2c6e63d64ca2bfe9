//! Logs: as fields, for people or for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogConfig;

/// Sends logs to standard error. The first call counts; a process has one log.
pub(crate) fn init(config: &LogConfig) {
    // The configuration has checked the filter already.
    let filter = EnvFilter::builder().parse_lossy(&config.filter);
    let registry = tracing_subscriber::registry().with(filter);
    // Whoever has set a subscriber before us, a test say, keeps it.
    let _ = if config.json {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(io::stderr)).try_init()
    } else {
        registry
            .with(fmt::layer().with_ansi(colours(&io::stderr())).with_target(false).with_writer(io::stderr))
            .try_init()
    };
}

/// Whether a stream is to be coloured: a terminal is, unless `NO_COLOR` says otherwise (<https://no-color.org>).
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
