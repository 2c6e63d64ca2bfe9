//! Several instances in one group: their common throughput and use of the machine's cores.

use std::time::{Duration, Instant};

use super::{Bench, Column, Cost, DEADLINE, Program, Workload};
use crate::{
    broker::{Broker, unique},
    process::free_port,
    service::Service,
    wait::{PATIENCE, until},
};

/// The number of partitions that the instances share.
const PARTITIONS: usize = 8;

/// The columns of [`group`]'s figures.
pub(super) const COLUMNS: [Column; 4] = [
    Column { title: "CPU s per million", digits: 2 },
    Column { title: "events/s", digits: 0 },
    Column { title: "cores of the instances", digits: 2 },
    Column { title: "cores of the machine", digits: 2 },
];

/// Measures `instances` instances of `order-bench` that handle an existing backlog at the same time.
pub(super) async fn group(broker: &Broker, instances: usize, events: u64) -> Vec<f64> {
    let bench = Bench::new(broker).await;
    let group = format!("bench-instances-{}-{}", std::process::id(), unique());
    let services: Vec<Service> = (0..instances).map(|_| start(&bench, &group)).collect();
    until("each instance has its share of the partitions", PATIENCE, async || {
        for service in &services {
            let partitions = service.try_get("/partitions").await.unwrap_or_default();
            let share = partitions.as_array().map_or(0, Vec::len);
            if share != PARTITIONS / instances {
                return Err(format!("{} has {share}", service.address()));
            }
        }
        Ok(())
    })
    .await;
    for service in &services {
        service.post("/consumer/pause", &serde_json::Value::Null).await;
    }
    bench.fill(Workload { events, ..Workload::default() }).await;

    let cpu = || services.iter().map(Service::cpu_time).sum::<Duration>();
    let (begun, cpu_before, machine_before) = (Instant::now(), cpu(), machine_time());
    for service in &services {
        service.post("/consumer/resume", &serde_json::Value::Null).await;
    }
    until("every event has its outcome", DEADLINE, async || {
        let mut consumed = 0;
        for service in &services {
            consumed += service.stat("consumed").await;
        }
        if consumed >= events { Ok(()) } else { Err(format!("{consumed} of {events}")) }
    })
    .await;
    let (seconds, cpu_s) = (begun.elapsed().as_secs_f64(), cpu().saturating_sub(cpu_before).as_secs_f64());
    let machine = machine_time().saturating_sub(machine_before).as_secs_f64();
    let cost = Cost { events, cpu_s, seconds, peak_rss_mib: 0.0, latency_ms: None, start_ms: None };
    for service in services {
        assert!(service.terminate().await.success(), "a clean stop");
    }
    vec![cost.cpu_per_million(), cost.per_second(), cpu_s / seconds, machine / seconds]
}

fn start(bench: &Bench, group: &str) -> Service {
    let port = free_port();
    let mut command = bench.program(Program::Bench, group);
    Service::spawn(command.env("APP_PORT", port.to_string()), port)
}

/// The busy time of all cores since the machine was started.
fn machine_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").expect("Linux reports the use of its cores");
    let ticks = busy(&stat).expect("the first line is of all cores");
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).expect("a small number")
}

/// Ticks in which a core was busy, from a line `cpu  user nice system idle iowait irq softirq steal …`. `steal`, the time that
/// the host gave to other machines, does not count.
fn busy(stat: &str) -> Option<u64> {
    let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some([0, 1, 2, 5, 6].into_iter().filter_map(|place| ticks.get(place)).sum())
}

#[cfg(test)]
mod tests {
    use super::busy;

    #[test]
    fn idle_and_stolen_time_is_not_busy() {
        assert_eq!(busy("cpu  100 20 30 5000 600 7 8 90 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"), Some(165));
        assert_eq!(busy("intr 5\n"), None);
    }
}
