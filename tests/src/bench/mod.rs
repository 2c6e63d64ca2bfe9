//! Compares the cost of the service with that of hand-written loops, alternating on one topic.

mod compile_time;
mod document;
mod instances;
mod parts;
mod table;
mod workload;

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use tempfile::TempDir;

pub use self::{
    document::Document,
    parts::{Extent, Part},
    table::{Column, Table},
    workload::Workload,
};
use crate::{
    broker::{Broker, unique},
    deployment::Deployment,
    wait::until,
};

/// The time limit of one run.
const DEADLINE: Duration = Duration::from_mins(5);

/// A measured program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A loop that polls and handles one record after the other.
    Loop,
    /// The loop, polling 500 records before it handles them.
    LoopBatches,
    /// The loop, with all headers of the service in its dead letters.
    LoopLetters,
    /// `order-bench` on this framework, without a store.
    Bench,
    /// `order-bench` on SQLite, with only positions and deduplication windows in the store.
    BenchOnSqlite,
}

impl Program {
    /// The programs without a store, in the order of a round.
    pub const ALL: [Self; 3] = [Self::Loop, Self::LoopBatches, Self::Bench];

    /// The programs for a topic of bad events.
    pub const ALL_BAD: [Self; 4] = [Self::Loop, Self::LoopBatches, Self::LoopLetters, Self::Bench];

    /// The program's name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loop => "hand-written loop",
            Self::LoopBatches => "hand-written loop, batches of 500",
            Self::LoopLetters => "hand-written loop, dead letters with all headers",
            Self::Bench => "order-bench",
            Self::BenchOnSqlite => "order-bench on SQLite",
        }
    }

    fn command(self) -> Command {
        let mut command = Command::new(beside(match self {
            Self::Bench | Self::BenchOnSqlite => "order-bench",
            Self::Loop | Self::LoopBatches | Self::LoopLetters => "order-bench-loop",
        }));
        match self {
            Self::LoopBatches => command.env("BATCH", "500"),
            Self::LoopLetters => command.env("LETTERS", "whole"),
            Self::Loop | Self::Bench | Self::BenchOnSqlite => &mut command,
        };
        command
    }
}

/// The path of a program that was built together with this one.
fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own executable");
    own.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// The cost of one run.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cost {
    /// Events with an outcome.
    pub events: u64,
    /// CPU time of the process, in seconds.
    pub cpu_s: f64,
    /// From the first event to the last, in seconds.
    pub seconds: f64,
    /// The peak memory of the process, in MiB.
    pub peak_rss_mib: f64,
    /// The latency, if it was measured.
    pub latency_ms: Option<Latency>,
    /// The time from the program's start to its first event in milliseconds, if the program reports it.
    pub start_ms: Option<f64>,
}

/// The time from an event's production to its processor, in milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Cost {
    #[expect(clippy::cast_precision_loss, reason = "the rate is only displayed")]
    fn millions(self) -> f64 {
        self.events as f64 / 1e6
    }

    /// CPU seconds per million events.
    pub fn cpu_per_million(self) -> f64 {
        self.cpu_s / self.millions()
    }

    /// Events per second.
    pub fn per_second(self) -> f64 {
        self.millions() * 1e6 / self.seconds
    }
}

/// A topic with the benchmark's events.
pub struct Bench {
    deployment: Deployment,
    /// The folder of the programs' stores.
    stores: TempDir,
}

impl Bench {
    /// Creates an empty topic with eight partitions.
    pub async fn new(broker: &Broker) -> Self {
        let stores = tempfile::tempdir().expect("a folder");
        Self { deployment: Deployment::with_partitions(broker, 8).await, stores }
    }

    /// Creates a topic with these events.
    pub async fn filled(broker: &Broker, workload: Workload) -> Self {
        let bench = Self::new(broker).await;
        bench.fill(workload).await;
        bench
    }

    /// Adds events to the topic.
    async fn fill(&self, workload: Workload) {
        self.deployment.events().produce_all(workload.records()).await;
    }

    /// Runs a program that consumes `events` events in a new group. Panics unless it exits with an outcome for each event.
    pub fn count(&self, program: Program, events: u64) -> Cost {
        let output = self.command(program, events).output().expect("the program starts");
        cost(program, events, &output)
    }

    /// Measures the latency from production to processor of a program, while events are produced at `rate` per second. Events of
    /// the first `warm_up` do not count.
    pub async fn latency(&self, program: Program, rate: u32, warm_up: Duration, time: Duration) -> Cost {
        let of = |time: Duration| u64::from(rate) * time.as_secs();
        let events = of(warm_up + time);
        let mut command = self.command(program, events);
        command.env("LATENCY_SKIP", of(warm_up).to_string());
        let running = std::thread::spawn(move || command.output().expect("the program starts"));
        // A program that joins its group late finds a backlog, which the warm-up covers.
        let records = Workload { events, ..Workload::default() }.records();
        self.deployment.events().produce_paced(records, rate).await;
        let output = running.join().expect("the program is waited for");
        cost(program, events, &output)
    }

    fn command(&self, program: Program, events: u64) -> Command {
        let mut command = self.program(program, &format!("bench-{}-{}", std::process::id(), unique()));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_micros();
        // The caller starts the command at once.
        command.env("EXPECT_EVENTS", events.to_string()).env("STARTED_AT_US", now.to_string());
        command
    }

    /// The command that runs a program as a member of a group.
    fn program(&self, program: Program, group: &str) -> Command {
        let mut command = program.command();
        self.deployment.name_places(&mut command);
        command.env("KAFKA_GROUP_ID", group);
        if program == Program::BenchOnSqlite {
            // A store belongs to one group.
            command.env("STORE_URL", format!("sqlite://{}", self.stores.path().join(group).display()));
        }
        command
    }
}

fn cost(program: Program, events: u64, output: &std::process::Output) -> Cost {
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    let name = program.name();
    assert!(output.status.success(), "{name} ended with {}: {text}{words}", output.status);
    let line =
        text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{name} prints no result: {words}"));
    let cost: Cost = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name} prints {line}: {error}"));
    assert_eq!(cost.events, events, "{name} has an outcome for each event: {line}");
    cost
}

/// Measures the whole service with the events of `orders` sample orders, on the store of the broker's deployments or on `memory`.
pub async fn service(broker: &Broker, orders: u32, in_memory: bool) -> Cost {
    let mut deployment = Deployment::with_partitions(broker, 8).await;
    if in_memory {
        deployment.set("STORE_URL", "memory");
    }
    deployment.publish_sample(orders, &[]).await;
    let ends = deployment.events().ends().values().sum::<i64>();
    let events = u64::try_from(ends).expect("offsets are not negative");
    let service = deployment.start();
    let mut begun = None;
    // Events before the first check count neither as events nor as time.
    let end = until("every event has its outcome", DEADLINE, async || {
        let stats = service.try_get("/stats").await.ok_or("the service does not answer yet")?;
        let consumed = stats["consumed"].as_u64().unwrap_or_default();
        let now = (Instant::now(), service.cpu_time(), consumed);
        if consumed > 0 {
            begun.get_or_insert(now);
        }
        if consumed >= events && stats["waiting"] == 0 { Ok(now) } else { Err(stats.to_string()) }
    })
    .await;
    let begun = begun.unwrap_or(end);
    #[expect(clippy::cast_precision_loss, reason = "the size is only displayed")]
    let peak_rss_mib = service.peak_memory() as f64 / 1024.0;
    let cost = Cost {
        events: end.2 - begun.2,
        cpu_s: end.1.saturating_sub(begun.1).as_secs_f64(),
        seconds: (end.0 - begun.0).as_secs_f64(),
        peak_rss_mib,
        latency_ms: None,
        start_ms: None,
    };
    assert!(service.terminate().await.success(), "a clean stop");
    cost
}
