//! The counters of the processors. Each thread has its own counters, so that threads do not compete for cache lines.

use std::{
    cell::OnceCell,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use order_runtime::prelude::*;
use uuid::Uuid;

use crate::meter;

/// The index of an event's counter.
#[derive(Debug, Clone, Copy)]
pub enum Counted {
    /// `OrderCreated`.
    Created,
    /// `OrderPaid`.
    Paid,
    /// `OrderShipped`.
    Shipped,
    /// `OrderCancelled`.
    Cancelled,
}

/// The events' names, in the order of [`Counted`].
pub const NAMES: [&str; 4] = ["OrderCreated", "OrderPaid", "OrderShipped", "OrderCancelled"];

/// The counters of one thread. Only that thread writes, so no atomic additions are needed.
#[derive(Debug, Default)]
struct Shard {
    counts: [AtomicU64; 4],
    /// The sums of totals, as the bits of floating-point numbers.
    sums: [AtomicU64; 4],
    latencies: Mutex<Vec<Latency>>,
}

static SHARDS: Mutex<Vec<Arc<Shard>>> = Mutex::new(Vec::new());

thread_local! {
    static SHARD: OnceCell<Arc<Shard>> = const { OnceCell::new() };
}

/// Counts one event.
///
/// # Errors
/// If the event's id is not a UUID.
pub fn add<T>(what: Counted, event: &Event<T>, total: f64) -> Result<(), Failed> {
    meter::begin();
    // Measured first, so that the latency does not include the counting.
    let latency = meter::latency_skip().and_then(|_| latency(event.header(PRODUCED_AT)?));
    if Uuid::try_parse(event.id()).is_err() {
        return Err(Failed::dead_letter("bad_id", "the event's id is not a UUID"));
    }
    SHARD.with(|shard| {
        let shard = shard.get_or_init(|| {
            let shard = Arc::new(Shard::default());
            SHARDS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shard));
            shard
        });
        let (count, sum) = (&shard.counts[what as usize], &shard.sums[what as usize]);
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let so_far = f64::from_bits(sum.load(Ordering::Relaxed));
        sum.store((so_far + total).to_bits(), Ordering::Relaxed);
        if let Some(latency) = latency {
            shard.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(latency);
        }
    });
    Ok(())
}

/// The header with an event's production time, in microseconds since the epoch.
pub const PRODUCED_AT: &str = "produced-at-us";

/// The latency of an event, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Latency {
    /// The production time since the epoch. It is the first field, so that sorting restores the order across threads.
    pub produced: i64,
    /// The time from production to handling.
    pub took: i64,
}

/// The latency of an event that is handled now, from the value of its header.
pub fn latency(produced_at: &[u8]) -> Option<Latency> {
    let produced: i64 = std::str::from_utf8(produced_at).ok()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Latency { produced, took: i64::try_from(now.as_micros()).ok()? - produced })
}

/// The counters of all threads.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events, in the order of [`NAMES`].
    pub counts: [u64; 4],
    /// The sum of all totals.
    pub total: f64,
    /// The latencies in the order of production.
    pub latencies: Vec<Latency>,
}

/// Sums the counters of all threads.
pub fn all() -> Counts {
    let mut all = Counts::default();
    for shard in SHARDS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        for (sum, count) in all.counts.iter_mut().zip(&shard.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        all.total += shard.sums.iter().map(|sum| f64::from_bits(sum.load(Ordering::Relaxed))).sum::<f64>();
        all.latencies.append(&mut shard.latencies.lock().unwrap_or_else(PoisonError::into_inner));
    }
    all.latencies.sort_unstable();
    all
}
