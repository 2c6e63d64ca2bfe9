//! What the processors do: count. Each thread counts for itself, so that threads do not wait for each other's cache lines.

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

/// The events, by their place among the counts.
#[derive(Debug, Clone, Copy)]
pub enum Counted {
    /// What was ordered.
    Created,
    /// What was paid.
    Paid,
    /// What was shipped.
    Shipped,
    /// What was cancelled.
    Cancelled,
}

/// The events' names, in the order of [`Counted`].
pub const NAMES: [&str; 4] = ["OrderCreated", "OrderPaid", "OrderShipped", "OrderCancelled"];

/// What one thread has counted. Only that thread writes, so nothing is added atomically.
#[derive(Debug, Default)]
struct Shard {
    counts: [AtomicU64; 4],
    /// The bits of floating-point numbers.
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
/// Its id is not a UUID.
pub fn add<T>(what: Counted, event: &Event<T>, total: f64) -> Result<(), Failed> {
    meter::begin();
    // First of all: what it takes to count is no part of it.
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

/// The header that says when an event was produced, in microseconds since the epoch.
pub const PRODUCED_AT: &str = "produced-at-us";

/// How long an event took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Latency {
    /// When it was produced, since the epoch. It comes first: threads note latencies apart, and this puts them in order.
    pub produced: i64,
    /// From then until it was handled.
    pub took: i64,
}

/// The latency of an event that is handled now, by the value of its header.
pub fn latency(produced_at: &[u8]) -> Option<Latency> {
    let produced: i64 = std::str::from_utf8(produced_at).ok()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Latency { produced, took: i64::try_from(now.as_micros()).ok()? - produced })
}

/// What all threads have counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events, in the order of [`NAMES`].
    pub counts: [u64; 4],
    /// The sum of all totals.
    pub total: f64,
    /// In the order in which the events were produced.
    pub latencies: Vec<Latency>,
}

/// Adds up what all threads have counted.
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
