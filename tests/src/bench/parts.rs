//! The parts of `docs/performance.md`: how each is measured and presented.

use std::{fmt::Write as _, time::Duration};

use clap::ValueEnum;

use super::{Bench, Column, Program, Table, Workload, compile_time, instances, service};
use crate::{broker::Broker, postgres::Postgres};

/// A part of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Events without a store: all valid, some bad, all bad.
    Cost,
    /// The whole service with each store.
    Stores,
    /// Latency from production to the processor, for an idle and a busy service.
    Latency,
    /// From a program's start to its first event.
    Start,
    /// 1, 2 and 4 instances of one group.
    Instances,
    /// A long backlog, and large payloads.
    Memory,
    /// The compile time of processors. It takes minutes, needs no Kafka, and is measured only on request.
    CompileTime,
}

/// The sizes of the measurements.
#[derive(Debug, Clone)]
pub struct Extent {
    /// Rounds; each runs every program once.
    pub rounds: u32,
    /// Events of a topic.
    pub events: u64,
    /// Seconds of events that are produced one by one for the latency.
    pub latency: u64,
    /// Events of the long backlog.
    pub backlog: u64,
    /// Events with large payloads.
    pub large: u64,
    /// Processors of the large crate.
    pub processors: u32,
}

/// Events per second for the latency of a nearly idle service, and of a busy one.
const RATES: [u32; 2] = [20, 2_000];
/// The time at the beginning whose events are the backlog of a starting program and do not count for the latency.
const WARM_UP: Duration = Duration::from_secs(8);
/// Bytes of a large payload: close to the limit of a producer with default settings.
const LARGE: usize = 990_000;

impl Part {
    /// Its name on the command line and in the document.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it runs on a broker.
    pub fn needs_broker(self) -> bool {
        self != Self::CompileTime
    }

    /// Measures the part and returns its text. Panics if the part needs a broker and has none.
    pub async fn measure(self, broker: Option<&Broker>, extent: &Extent) -> String {
        let broker = || broker.expect("a part that needs a broker gets one");
        let sections = match self {
            Self::Cost => costs(broker(), extent).await,
            Self::Stores => vec![positions(broker(), extent).await, stores(broker(), extent).await],
            Self::Latency => latencies(broker(), extent).await,
            Self::Start => vec![start(broker(), extent).await],
            Self::Instances => vec![several(broker(), extent).await],
            Self::Memory => memory(broker(), extent).await,
            Self::CompileTime => compile_times(extent),
        };
        let mut text = String::new();
        for (title, table) in sections {
            // Writing to a string cannot fail.
            let _ = write!(text, "## {title}\n\n{table}\n");
        }
        if self == Self::Instances {
            text.push_str(
                "If all cores of the machine are busy, including the broker's work, they limit the rate.\n\n",
            );
        }
        let _ = writeln!(text, "Rounds: {}; the machine: {}.", extent.rounds, machine());
        text
    }
}

type Section = (String, Table);

async fn costs(broker: &Broker, extent: &Extent) -> Vec<Section> {
    let mut sections = Vec::new();
    for (bad, title) in [(0, "No bad events"), (10, "1 % bad events"), (1_000, "Only bad events")] {
        let only_bad = bad == 1_000;
        let events = if only_bad { extent.events.div_ceil(2) } else { extent.events };
        let programs: &[Program] = if only_bad { &Program::ALL_BAD } else { &Program::ALL };
        let table = compared(broker, Workload { events, bad, ..Workload::default() }, programs, extent).await;
        sections.push((format!("{title}, no store ({events} events)"), table));
    }
    sections
}

/// Compares programs on one topic, alternating between them.
async fn compared(broker: &Broker, workload: Workload, programs: &[Program], extent: &Extent) -> Table {
    let bench = Bench::filled(broker, workload).await;
    let mut table = Table::of_costs();
    for _ in 0..extent.rounds {
        for program in programs {
            table.add(program.name(), bench.count(*program, workload.events).figures());
        }
    }
    table
}

/// Measures the cost of positions and deduplication windows, without any other use of the store.
async fn positions(broker: &Broker, extent: &Extent) -> Section {
    let events = extent.events;
    let workload = Workload { events, ..Workload::default() };
    let table = compared(broker, workload, &[Program::Bench, Program::BenchOnSqlite], extent).await;
    (format!("Positions and deduplication windows ({events} events under 100000 keys in random order)"), table)
}

async fn stores(broker: &Broker, extent: &Extent) -> Section {
    let mut table = Table::of_costs();
    let orders = u32::try_from(extent.events / 5).unwrap_or(u32::MAX);
    for _ in 0..extent.rounds {
        table.add("order-service, memory", service(broker, orders, true).await.figures());
        table.add("order-service, SQLite", service(broker, orders, false).await.figures());
        if let Some(server) = Postgres::server() {
            let broker = broker.clone().with_postgres(server);
            let cost = service(&broker, orders, false).await;
            table.add("order-service, PostgreSQL (without the server's own)", cost.figures());
        }
    }
    (format!("With a store: all events of {orders} orders, all rules on"), table)
}

async fn latencies(broker: &Broker, extent: &Extent) -> Vec<Section> {
    let mut sections = Vec::new();
    for rate in RATES {
        let mut table = Table::of_latencies();
        for _ in 0..extent.rounds {
            for program in [Program::Loop, Program::Bench] {
                let time = Duration::from_secs(extent.latency);
                let cost = Bench::new(broker).await.latency(program, rate, WARM_UP, time).await;
                table.add(program.name(), cost.latencies());
            }
        }
        sections.push((format!("Latency at {rate} events a second, from production to processor"), table));
    }
    sections
}

async fn start(broker: &Broker, extent: &Extent) -> Section {
    const COLUMNS: [Column; 1] = [Column { title: "ms", digits: 0 }];
    let events = 10_000;
    let bench = Bench::filled(broker, Workload { events, ..Workload::default() }).await;
    let mut table = Table::new(&COLUMNS);
    for _ in 0..extent.rounds {
        for program in [Program::Loop, Program::Bench] {
            let cost = bench.count(program, events);
            table.add(program.name(), vec![cost.start_ms.expect("the program reports its start")]);
        }
    }
    ("From the start of the program to its first event, which is already in the topic".to_owned(), table)
}

async fn several(broker: &Broker, extent: &Extent) -> Section {
    let mut table = Table::new(&instances::COLUMNS);
    for _ in 0..extent.rounds {
        for count in [1, 2, 4] {
            table.add(&count.to_string(), instances::group(broker, count, extent.events).await);
        }
    }
    let events = extent.events;
    (format!("Instances of order-bench in one group on 8 partitions ({events} events)"), table)
}

async fn memory(broker: &Broker, extent: &Extent) -> Vec<Section> {
    let programs = [Program::Loop, Program::Bench];
    let (backlog, large) = (extent.backlog, extent.large);
    let of_backlog = Workload { events: backlog, ..Workload::default() };
    let of_large = Workload { events: large, padding: LARGE, ..Workload::default() };
    vec![
        (format!("Memory with a backlog of {backlog} events"), compared(broker, of_backlog, &programs, extent).await),
        (format!("Memory with payloads of 1 MB ({large} events)"), compared(broker, of_large, &programs, extent).await),
    ]
}

fn compile_times(extent: &Extent) -> Vec<Section> {
    let Extent { rounds, processors, .. } = *extent;
    vec![
        ("Compile time of order-service".to_owned(), compile_time::of_the_service(rounds)),
        (
            format!("Compile time of a crate with {processors} processors of `Event<Value>`"),
            compile_time::of_a_crowd(rounds, processors),
        ),
    ]
}

/// A description of the machine, from Linux.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{cores} cores, {}", model.map_or("an unknown processor", |(_, model)| model))
}
