//! Metrics of the process from the operating system, with the names that Prometheus clients share.

use super::family::Family;

/// The metrics of this process; none if the system does not report them.
#[cfg(not(target_os = "linux"))]
pub(crate) fn families() -> Vec<Family> {
    Vec::new()
}

/// The metrics of this process; none if the system does not report them.
#[cfg(target_os = "linux")]
pub(crate) fn families() -> Vec<Family> {
    read().unwrap_or_default()
}

#[cfg(target_os = "linux")]
fn read() -> procfs::ProcResult<Vec<Family>> {
    use procfs::{CurrentSI as _, WithCurrentSystemInfo as _, process::Process};

    use crate::exposition::family::{Kind, Unit, Value};

    let process = Process::myself()?;
    let stat = process.stat()?;
    #[expect(clippy::cast_precision_loss, reason = "times and sizes are shown, not computed with")]
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    #[expect(clippy::cast_precision_loss, reason = "a boot time has ten digits")]
    let booted = procfs::KernelStats::current()?.btime as f64;
    let whole = |count: usize| Value::Whole(count as u64);
    let gauge = |name: &str, help, value| Family::new(name, Kind::Gauge, help).with(Vec::new(), value);
    Ok(vec![
        Family::new("process.cpu", Kind::Counter, "CPU time of the process, user and system together")
            .in_unit(Unit::Seconds)
            .with(Vec::new(), Value::Real(seconds(stat.utime + stat.stime))),
        gauge("process.resident.memory", "Memory of the process that is in RAM", {
            Value::Whole(stat.rss_bytes().get())
        })
        .in_unit(Unit::Bytes),
        gauge("process.virtual.memory", "Address space of the process", Value::Whole(stat.vsize)).in_unit(Unit::Bytes),
        gauge("process.open_fds", "Open file descriptors", whole(process.fd_count()?)),
        gauge("process.threads", "Threads of the process", Value::Whole(stat.num_threads.unsigned_abs())),
        gauge(
            "process.start_time",
            "When the process started, in seconds of the Unix epoch",
            Value::Real(booted + seconds(stat.starttime)),
        )
        .in_unit(Unit::Seconds),
    ])
}
