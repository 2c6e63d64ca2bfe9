//! The events that the benchmark consumes; deterministic for a given size.
//!
//! Eight partitions, 100,000 keys, about 350 bytes per event; 40 % created, 30 % paid, 20 % shipped, 10 % cancelled. A quarter
//! each of the bad events is truncated, has an unknown name, lacks a key field, or has a quantity below zero.

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use uuid::Builder;

use crate::topic::NewRecord;

/// The events of one topic.
#[derive(Debug, Clone, Copy, Default)]
pub struct Workload {
    /// The number of events.
    pub events: u64,
    /// The number of bad events per thousand.
    pub bad: u32,
    /// The number of padding bytes in each event.
    pub padding: usize,
}

/// The number of keys, each with one order.
const KEYS: u32 = 100_000;

impl Workload {
    /// The records in order.
    pub fn records(self) -> impl Iterator<Item = NewRecord> {
        let mut random = StdRng::seed_from_u64(1);
        (0..self.events).map(move |_| record(&mut random, self.bad, self.padding))
    }
}

fn record(random: &mut StdRng, bad: u32, padding: usize) -> NewRecord {
    let key = format!("ord-{:08}", random.random_range(0..KEYS));
    let mut name = match random.random_range(0..10) {
        0..4 => "OrderCreated",
        4..7 => "OrderPaid",
        7..9 => "OrderShipped",
        _ => "OrderCancelled",
    };
    let bad = (random.random_range(0..1_000) < bad).then(|| random.random_range(0..4));
    if bad == Some(1) {
        name = "OrderTeleported";
    }
    let items: Vec<String> = (0..random.random_range(1..=4))
        .map(|index| {
            let quantity = if bad == Some(3) && index == 0 { -1 } else { random.random_range(1..10) };
            let (sku, cents) = (random.random_range(0..100_000), random.random_range(100..10_000));
            format!(r#"{{"sku":"SKU-{sku:05}","quantity":{quantity},"unitPrice":{}.{:02}}}"#, cents / 100, cents % 100)
        })
        .collect();
    let id = if bad == Some(2) { String::new() } else { format!(r#""orderId":"{key}","#) };
    let mut uuid = [0; 16];
    random.fill_bytes(&mut uuid);
    let mut payload = format!(
        r#"{{"eventId":"{}","eventName":"{name}","occurredAt":"2026-01-01T00:00:00.000Z","data":{{{id}"customerId":"cus-{:07}{}","currency":"EUR","items":[{}],"total":{}.{:02}}}}}"#,
        Builder::from_random_bytes(uuid).into_uuid(),
        random.random_range(0..10_000_000),
        "x".repeat(padding),
        items.join(","),
        random.random_range(1..1_000),
        random.random_range(0..100),
    );
    if bad == Some(0) {
        payload.truncate(payload.len() * 2 / 3);
    }
    NewRecord::bytes(&key, payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_bad_if_a_hundred_per_thousand_are() {
        let workload = Workload { events: 4_000, bad: 100, padding: 0 };
        let payloads: Vec<Vec<u8>> = workload.records().filter_map(|record| record.payload).collect();
        let teleported = |payload: &&Vec<u8>| payload.windows(15).any(|part| part == b"OrderTeleported");
        let bad = payloads.iter().filter(|payload| !payload.ends_with(b"}")).count()
            + payloads.iter().filter(teleported).count();
        assert!((150..250).contains(&bad), "half of the bad ones are of these two kinds: {bad}");
        let size = payloads.iter().map(Vec::len).sum::<usize>() / payloads.len();
        assert!((300..400).contains(&size), "{size}");
        assert!(workload.records().filter_map(|record| record.payload).eq(payloads.clone()), "the same each time");
        let padded = Workload { padding: 1_000, ..workload }.records().filter_map(|record| record.payload);
        let whole = padded.zip(payloads).filter(|(padded, plain)| padded.ends_with(b"}") && plain.ends_with(b"}"));
        assert!(
            whole.into_iter().all(|(padded, plain)| padded.len() == plain.len() + 1_000),
            "and longer where it is padded"
        );
    }
}
