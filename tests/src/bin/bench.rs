//! Measures the tables of `docs/performance.md`: the service and hand-written loops, alternating on one real Kafka.
//!
//! `cargo xtask bench` makes release builds of all programs and runs this one.

#![allow(clippy::print_stderr, reason = "a long run reports to the terminal")]

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum as _};
use order_tests::{
    Broker,
    bench::{Document, Extent, Part},
};

/// Measures the cost of an event, and writes docs/performance.md.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// Only these parts; the document keeps the others. The default is all parts except compile-time.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Rounds; each runs every program once.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Events of a topic.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Seconds of events that are produced one by one for the latency.
    #[arg(long, default_value_t = 20)]
    latency: u64,
    /// Events of the backlog with which memory is measured.
    #[arg(long, default_value_t = 5_000_000)]
    backlog: u64,
    /// Events with payloads of 1 MB with which memory is measured.
    #[arg(long, default_value_t = 1_000)]
    large: u64,
    /// Processors of the crate with which the compile time is measured.
    #[arg(long, default_value_t = 1_000)]
    processors: u32,
    /// The file to write.
    #[arg(long, default_value = "docs/performance.md")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(measure(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the parts and writes each when it is finished, so that an interrupted run leaves complete parts.
async fn measure(arguments: Arguments) -> Result<(), String> {
    let Arguments { only, rounds, events, latency, backlog, large, processors, output } = arguments;
    let extent = Extent { rounds, events, latency, backlog, large, processors };
    let all = Part::value_variants();
    let order: Vec<String> = all.iter().map(|part| part.name()).collect();
    let order: Vec<&str> = order.iter().map(String::as_str).collect();
    let wanted = if only.is_empty() { all.iter().copied().filter(|part| part.needs_broker()).collect() } else { only };
    let broker = if wanted.iter().any(|part| part.needs_broker()) {
        Some(Broker::kafka().ok_or("the benchmark needs a real Kafka")?)
    } else {
        None
    };
    let at_output = |error: io::Error| format!("{}: {error}", output.display());
    for part in wanted {
        let text = part.measure(broker.as_ref(), &extent).await;
        eprintln!("{text}");
        let written = match fs::read_to_string(&output) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(at_output(error)),
        };
        let mut document = Document::parse(&written);
        document.put(&part.name(), &text, &order);
        fs::write(&output, document.text()).map_err(at_output)?;
    }
    Ok(())
}
