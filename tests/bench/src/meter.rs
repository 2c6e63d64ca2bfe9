//! Measures from the first event to the last one that is handled or whose dead letter is acknowledged.

use std::{
    io::Write as _,
    process::ExitCode,
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use order_runtime::ReadStats;
use rustix::{
    process::{Signal, getpid, kill_process},
    time::{ClockId, clock_gettime},
};

use crate::counts::{self, Counts, NAMES};

/// The interval of checks for the first event.
const LOOK: Duration = Duration::from_millis(1);
/// The interval of checks for the last event, which limits the error of the measured time.
const LOOK_ON: Duration = Duration::from_millis(5);

static BEGUN: OnceLock<Reading> = OnceLock::new();

/// A reading of the clock and of the process's CPU time.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    at: Instant,
    cpu: Duration,
}

impl Reading {
    /// Reads both clocks.
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        // The CPU clock starts with the process, so both numbers are small and positive.
        let cpu = Duration::new(
            u64::try_from(cpu.tv_sec).unwrap_or_default(),
            u32::try_from(cpu.tv_nsec).unwrap_or_default(),
        );
        Self { at: Instant::now(), cpu }
    }
}

/// Records the first event.
pub(crate) fn begin() {
    BEGUN.get_or_init(Reading::now);
}

/// `LATENCY_SKIP`: the number of events at the beginning whose latency does not count; `None` if latency is not measured.
pub fn latency_skip() -> Option<usize> {
    static SKIP: OnceLock<Option<usize>> = OnceLock::new();
    *SKIP.get_or_init(|| number("LATENCY_SKIP").and_then(|skip| usize::try_from(skip).ok()))
}

/// Reads a number from an environment variable.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Prints an error of the call to standard error.
pub fn wrong(message: &str) -> ExitCode {
    // A closed standard error is ignored.
    let _ = writeln!(std::io::stderr(), "order-bench: {message}");
    ExitCode::from(2)
}

/// Watches the engine until `EXPECT_EVENTS` events have an outcome, and stops the process. Without that variable, does nothing.
pub fn start(stats: ReadStats) {
    if let Some(expected) = number("EXPECT_EVENTS") {
        std::thread::spawn(move || watch(&stats, expected));
    }
}

fn watch(read_stats: &ReadStats, expected: u64) {
    let mut before = Reading::now();
    let stats = loop {
        std::thread::sleep(if BEGUN.get().is_none() { LOOK } else { LOOK_ON });
        let stats = read_stats();
        if stats.consumed == 0 {
            before = Reading::now();
        } else {
            // If every event is bad, no processor is called. Then the last check without events counts as the beginning.
            BEGUN.get_or_init(|| before);
        }
        if stats.consumed >= expected && stats.waiting == 0 && stats.unpublished == 0 {
            break stats;
        }
    };
    let end = Reading::now();
    let done = Done { name: "order-bench", counts: counts::all(), dead_lettered: stats.dead_lettered };
    let line = report(done, *BEGUN.get_or_init(|| before), end);
    let _ = writeln!(std::io::stdout(), "{line}");
    // A clean stop commits the offsets.
    let _ = kill_process(getpid(), Signal::TERM);
}

/// The results of a program.
#[derive(Debug, Default)]
pub struct Done {
    /// The program.
    pub name: &'static str,
    /// The handled events.
    pub counts: Counts,
    /// The number of dead letters.
    pub dead_lettered: u64,
}

/// The one line of JSON that a program prints.
pub fn report(done: Done, begun: Reading, end: Reading) -> serde_json::Value {
    let Done { name, counts, dead_lettered } = done;
    let seconds = (end.at - begun.at).as_secs_f64();
    let ok: u64 = counts.counts.iter().sum();
    let events = ok + dead_lettered;
    #[expect(clippy::cast_precision_loss, reason = "the rate is only displayed")]
    let rate = events as f64 / seconds;
    let mut line = serde_json::json!({
        "peer": name,
        "events": events,
        "ok": ok,
        "dlq": dead_lettered,
        "seconds": seconds,
        "events_per_s": rate,
        "cpu_s": end.cpu.saturating_sub(begun.cpu).as_secs_f64(),
        "peak_rss_mib": peak_rss_mib(),
        "counts": NAMES.iter().zip(counts.counts).collect::<std::collections::BTreeMap<_, _>>(),
        "total": counts.total,
    });
    if let Some(started) = number("STARTED_AT_US") {
        line["start_ms"] = serde_json::json!(since(started, begun));
    }
    let counted = counts.latencies.into_iter().skip(latency_skip().unwrap_or_default());
    let mut latencies: Vec<i64> = counted.map(|latency| latency.took).collect();
    if !latencies.is_empty() {
        latencies.sort_unstable();
        line["latency_ms"] = serde_json::json!({
            "n": latencies.len(),
            "p50": quantile(&latencies, 50),
            "p99": quantile(&latencies, 99),
            "max": quantile(&latencies, 100),
        });
    }
    line
}

/// Milliseconds from a time, in microseconds since the epoch, to a reading.
fn since(started: u64, reading: Reading) -> Option<f64> {
    let begun = SystemTime::now().checked_sub(reading.at.elapsed())?.duration_since(UNIX_EPOCH).ok()?;
    Some(begun.checked_sub(Duration::from_micros(started))?.as_secs_f64() * 1_000.0)
}

/// A percentile of sorted microseconds, in milliseconds.
fn quantile(sorted: &[i64], percent: usize) -> f64 {
    let micros = sorted[(sorted.len() - 1) * percent / 100];
    Duration::from_micros(micros.unsigned_abs()).as_secs_f64() * 1_000.0
}

/// The peak memory of the process, in MiB.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / 1024)
}
