//! The table of `docs/performance.md`: the service beside loops written by hand, on one real Kafka, turn by turn.
//!
//! `cargo xtask bench` builds all of it as it is released and runs it.

#![allow(clippy::print_stderr, reason = "a long run reports to the terminal it was started in")]

use std::{fmt::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use order_tests::{
    Broker, Postgres,
    bench::{Bench, Program, Table, Workload, service},
};

/// Measures what an event costs, and writes it down.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// Rounds; each runs every program once.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Events of a topic.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Seconds of events that are produced one by one for the latency; 0 leaves it out.
    #[arg(long, default_value_t = 20)]
    latency: u64,
    /// Where to write the tables.
    #[arg(long, default_value = "docs/performance.md")]
    output: PathBuf,
}

/// Events a second where latency is measured.
const RATE: u32 = 2_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let Some(text) = runtime.block_on(measure(&arguments)) else { return ExitCode::FAILURE };
    match std::fs::write(&arguments.output, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", arguments.output.display());
            ExitCode::FAILURE
        }
    }
}

/// The whole text; `None` where this machine has no Kafka, which is said.
async fn measure(arguments: &Arguments) -> Option<String> {
    let broker = Broker::kafka()?;
    let Arguments { rounds, events, .. } = *arguments;
    let mut text = format!(
        "# What an event costs\n\n\
         Written by `cargo xtask bench`: medians of {rounds} rounds, in each of which every program runs once, the least and the most in brackets. The broker runs on the same\n\
         machine ({}). CPU time is that of the measured process; it is steadier than events a second, which depend on what else the machine does.\n",
        machine()
    );
    for (bad, title) in [(0, "No bad events"), (10, "1 % bad events"), (1_000, "Only bad events")] {
        let events = if bad == 1_000 { events.div_ceil(5) } else { events };
        let bench = Bench::filled(&broker, Workload { events, bad }).await;
        let mut table = Table::default();
        for _ in 0..rounds {
            for program in Program::ALL {
                table.add(program.name(), bench.count(program, events));
            }
        }
        section(&mut text, &format!("{title}, no store ({events} events)"), &table);
    }
    let mut stores = Table::default();
    let orders = u32::try_from(events / 5).unwrap_or(u32::MAX);
    for _ in 0..rounds {
        stores.add("order-service, memory", service(&broker, orders, true).await);
        stores.add("order-service, SQLite", service(&broker, orders, false).await);
        if let Some(server) = Postgres::server() {
            let broker = broker.clone().with_postgres(server);
            stores.add("order-service, PostgreSQL (without the server's own)", service(&broker, orders, false).await);
        }
    }
    section(&mut text, &format!("With a store: the lives of {orders} orders, every rule on"), &stores);
    if arguments.latency > 0 {
        let mut table = Table::default();
        for _ in 0..rounds {
            for program in [Program::Loop, Program::Bench] {
                let time = Duration::from_secs(arguments.latency);
                let bench = Bench::new(&broker).await;
                table.add(program.name(), bench.latency(program, RATE, Duration::from_secs(8), time).await);
            }
        }
        section(&mut text, &format!("Latency at {RATE} events a second, from production to processor"), &table);
    }
    Some(text)
}

fn section(text: &mut String, title: &str, table: &Table) {
    eprintln!("{title}\n\n{table}");
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {title}\n\n{table}");
}

/// What the machine is, as far as Linux tells.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{cores} cores, {}", model.map_or("an unknown processor", |(_, model)| model))
}
