//! The long form of the chaos tests: rounds of every fault on real brokers and stores, until the time is up or a round fails.
//!
//! `cargo xtask chaos` builds and runs it. Each round prints its report; the first failure ends the program, with the logs of the
//! services and the command that repeats the round.

#![allow(clippy::print_stderr, reason = "a long run reports to the terminal")]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use order_tests::{
    Broker, Kafka, Postgres,
    chaos::{
        Recipe, Report,
        rounds::{self, Kills, Latency, Shape, Trouble},
    },
};

/// Injects faults around the service for some minutes, and accounts for every event.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask chaos")]
struct Arguments {
    /// Duration; the last round is finished.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Distinct events in a round of kills; the other rounds have a tenth.
    #[arg(long, default_value_t = 200_000)]
    events: u32,
    /// SIGKILLs in a round of kills.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// Events in a round of kills that end their process until they are dead-lettered.
    #[arg(long, default_value_t = 3)]
    killers: usize,
    /// Only rounds on this store.
    #[arg(long)]
    store: Option<Store>,
    /// Only this round.
    #[arg(long)]
    round: Option<Round>,
    /// Events per second in the round of neighbours. Use fewer on a slow machine, whose own limits would dominate the figures.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// Seed of the first round's events; each further round uses the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Round {
    /// SIGKILLs, each with a transaction in flight.
    Kills,
    /// The broker is killed and hangs.
    Broker,
    /// The connections to Kafka and PostgreSQL have faults.
    Line,
    /// PostgreSQL is killed and hangs; the disk of SQLite is full.
    Store,
    /// Instances start, stop and hang.
    Members,
    /// Measures the effect of a failing or hanging key on other keys; without accounting.
    Neighbours,
}

const ROUNDS: [(Round, Store); 9] = [
    (Round::Kills, Store::Sqlite),
    (Round::Kills, Store::Postgres),
    (Round::Broker, Store::Sqlite),
    (Round::Line, Store::Sqlite),
    (Round::Line, Store::Postgres),
    (Round::Store, Store::Sqlite),
    (Round::Store, Store::Postgres),
    (Round::Members, Store::Postgres),
    (Round::Neighbours, Store::Sqlite),
];

/// Records per second while events come.
const RATE: u32 = 4_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen: Vec<_> = ROUNDS
        .into_iter()
        .filter(|(round, store)| {
            arguments.round.is_none_or(|wanted| wanted == *round)
                && arguments.store.is_none_or(|wanted| wanted == *store)
        })
        .collect();
    if chosen.is_empty() {
        eprintln!("there is no such round on that store");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let start = Instant::now();
    let time = Duration::from_secs(arguments.minutes * 60);
    for (seed, (round, store)) in (arguments.seed..).zip(chosen.into_iter().cycle()) {
        let again = Again { arguments: &arguments, round, store, seed };
        let begun = Instant::now();
        let reports = runtime.block_on(play(&arguments, round, store, seed));
        for report in reports {
            report.print();
        }
        drop(again);
        eprintln!("round {round:?} on {store:?}, seed {seed}: {:.0?}\n", begun.elapsed());
        if start.elapsed() >= time {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// Prints the command that repeats a failed round, after the output of the panic.
struct Again<'a> {
    arguments: &'a Arguments,
    round: Round,
    store: Store,
    seed: u64,
}

impl Drop for Again<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let Self { arguments: Arguments { events, kills, killers, .. }, round, store, seed } = self;
        let [round, store] = [format!("{round:?}"), format!("{store:?}")].map(|name| name.to_lowercase());
        eprintln!(
            "something is wrong; what it is and the logs of the services are above. The same events again:\n\
             cargo xtask chaos --minutes 0 --round {round} --store {store} --events {events} --kills {kills} --killers {killers} --seed {seed}"
        );
    }
}

/// Plays one round. If the machine lacks a requirement, prints that and returns no report.
async fn play(arguments: &Arguments, round: Round, store: Store, seed: u64) -> Vec<Report> {
    let recipe =
        |events: u32| Recipe { events, keys: (events / 100).clamp(10, 2_000), seed, hostile: true, killers: 0 };
    let shape = Shape { recipe: recipe(arguments.events.div_ceil(10)), rate: RATE };
    let Some(kafka) = Broker::kafka() else { return Vec::new() };
    match (round, store) {
        (Round::Kills, store) => {
            let instances = if store == Store::Postgres { 3 } else { 1 };
            let recipe = Recipe { killers: arguments.killers, ..recipe(arguments.events) };
            let shape = Kills { recipe, kills: arguments.kills, instances, rate: RATE };
            match store {
                Store::Sqlite => vec![rounds::kills(&kafka, shape).await],
                Store::Postgres => {
                    let Some(server) = Postgres::server() else { return Vec::new() };
                    vec![rounds::kills(&kafka.with_postgres(server), shape).await]
                }
            }
        }
        (Round::Neighbours, _) => {
            measure(&kafka, arguments.rate).await;
            Vec::new()
        }
        (Round::Members, _) => {
            let Some(server) = Postgres::server() else { return Vec::new() };
            let broker = kafka.with_postgres(server);
            vec![rounds::members_come_and_go(&broker, shape).await, rounds::sleeper(&broker, shape).await]
        }
        (Round::Broker, _) => {
            let Some(fragile) = Kafka::fragile() else { return Vec::new() };
            vec![rounds::broker_dies(fragile, shape).await]
        }
        (Round::Line, Store::Sqlite) => {
            let Some(fragile) = Kafka::fragile() else { return Vec::new() };
            vec![rounds::bad_line_to_kafka(fragile, shape).await, rounds::flipped_bytes(fragile, shape).await]
        }
        (Round::Line, Store::Postgres) => {
            let Some(server) = Postgres::fragile() else { return Vec::new() };
            vec![rounds::bad_line_to_postgres(&kafka, server, shape).await]
        }
        (Round::Store, Store::Postgres) => {
            let Some(server) = Postgres::fragile() else { return Vec::new() };
            vec![rounds::postgres_dies(&kafka, server, shape).await]
        }
        (Round::Store, Store::Sqlite) => match rounds::disk_full(&kafka, shape).await {
            Ok(report) => vec![report],
            Err(reason) => {
                eprintln!("skipped: {reason}");
                Vec::new()
            }
        },
    }
}

/// Measures each case three times, alternating, and judges by the median, because single figures are noisy.
async fn measure(kafka: &Broker, rate: u32) {
    const TROUBLES: [Trouble; 3] = [Trouble::None, Trouble::Errs, Trouble::Hangs];
    let mut seen = [const { Vec::new() }; TROUBLES.len()];
    // Does not count, because a newly started broker is slow.
    for _ in 0..3 {
        rounds::neighbours(kafka, Trouble::None, rate, Duration::from_secs(10)).await;
    }
    for _ in 0..3 {
        for (trouble, seen) in TROUBLES.into_iter().zip(&mut seen) {
            let Latency { p50, p99, max } = rounds::neighbours(kafka, trouble, rate, Duration::from_secs(10)).await;
            eprintln!("{rate} events a second beside {trouble:?}: p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}");
            seen.push(p99);
        }
    }
    let [alone, errs, hangs] = seen.map(|mut p99| {
        p99.sort_unstable();
        p99[p99.len() / 2]
    });
    let goal = alone.mul_f64(1.2) + Duration::from_millis(5);
    eprintln!("p99 alone: {alone:.1?}; goal beside a failing key: at most {goal:.1?}");
    for (p99, key) in [(errs, "errs at once"), (hangs, "hangs until its time-out")] {
        let verdict = if p99 <= goal { "kept" } else { "missed" };
        eprintln!("p99 beside a key that {key}: {p99:.1?}, {verdict}");
    }
}
