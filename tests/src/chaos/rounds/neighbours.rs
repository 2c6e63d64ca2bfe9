//! The effect of a failing or hanging key on the latency of other keys.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::{broker::Broker, deployment::Deployment, events::event_with_id, wait::PATIENCE, wait::until};

/// The behaviour of the failing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// No failing key.
    None,
    /// Its events fail at once, at every attempt.
    Errs,
    /// Its events hang until their timeout.
    Hangs,
}

/// The time from the production of an event to its application.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// The median.
    pub p50: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The maximum.
    pub max: Duration,
}

/// The interval between events of the failing key; shorter than the handling of one of them.
const TROUBLE_EACH: Duration = Duration::from_millis(100);
/// Events in this time at the beginning do not count.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures the latency of events at `rate` per second, each with its own key, beside the failing key.
pub async fn neighbours(broker: &Broker, trouble: Trouble, rate: u32, duration: Duration) -> Latency {
    let deployment = Deployment::of_scripts(broker, 4).await;
    let path = deployment.store_url().strip_prefix("sqlite://").expect("measured on SQLite").to_owned();
    let service = deployment.start_ready().await;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        // A request for each event would load the broker instead of the service.
        .set("linger.ms", "1")
        .create()
        .expect("a producer");
    let topic = deployment.events();
    let each = Duration::from_secs(1) / rate;
    let mut ticks = tokio::time::interval(each);
    let start = tokio::time::Instant::now();
    let mut last_trouble = start;
    let mut produced: HashMap<String, i64> = HashMap::new();
    let mut deliveries = Vec::new();
    let mut send = |key: &str, name: &str, data: serde_json::Value| {
        let payload = event_with_id(&format!("{key}-{}", deliveries.len()), name, &data).to_string();
        let record = FutureRecord::to(topic.name()).key(key).payload(&payload);
        deliveries.push(producer.send_result(record).unwrap_or_else(|(error, _)| panic!("not queued: {error}")));
    };
    let mut number = 0_u32;
    while start.elapsed() < duration + WARM_UP {
        ticks.tick().await;
        number += 1;
        let key = format!("neighbour-{number}");
        if start.elapsed() > WARM_UP {
            produced.insert(key.clone(), now());
        }
        send(&key, "EntryRecorded", json!({"ledgerId": key, "entry": 1}));
        if trouble != Trouble::None && last_trouble.elapsed() > TROUBLE_EACH {
            last_trouble = tokio::time::Instant::now();
            let script = if trouble == Trouble::Errs { json!({"fail": 1_000}) } else { json!("hang") };
            send("trouble", "EntryHurried", json!({"ledgerId": "trouble", "entry": number, "script": script}));
        }
    }
    for delivery in deliveries {
        let delivery = delivery.await.expect("the producer lives");
        delivery.unwrap_or_else(|(error, _)| panic!("a record is not acknowledged: {error}"));
    }
    let latencies = until("every neighbour is applied", PATIENCE, async || {
        let applied = applied_at(&path);
        let missing = produced.keys().filter(|key| !applied.contains_key(*key)).count();
        if missing > 0 {
            return Err(format!("{missing} of {} are not applied", produced.len()));
        }
        let mut latencies: Vec<i64> = produced.iter().map(|(key, at)| applied[key] - at).collect();
        latencies.sort_unstable();
        Ok(latencies)
    })
    .await;
    drop(service);
    let at = |share: usize| {
        let place = (latencies.len() * share / 100).min(latencies.len() - 1);
        Duration::from_micros(latencies[place].unsigned_abs())
    };
    Latency { p50: at(50), p99: at(99), max: at(100) }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_micros()).expect("a clock before the year 290,000")
}

/// The creation time of each ledger, in microseconds since the epoch.
fn applied_at(path: &str) -> HashMap<String, i64> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the store opens");
    let mut statement = db.prepare("SELECT ledger_id, created_at FROM ledgers").expect("the schema is known");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("the store answers");
    rows.collect::<rusqlite::Result<_>>().expect("rows are read")
}
