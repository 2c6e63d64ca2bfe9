//! A hand-written loop that does the work of `order-bench`, for comparison.
//!
//! One thread polls, decodes, matches on the name, validates and counts; bad events go to the dead-letter topic. Once a second it
//! waits until every dead letter is acknowledged, and commits. `BATCH=500` polls 500 records before it handles them.
//! `LETTERS=whole` writes dead letters with all headers of the service, with the same compression. The loop has no retries, no
//! key order beyond the partition's, no deduplication, no metrics and no drain.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "any failure ends the benchmark")]

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use order_bench::{
    counts::{Counts, NAMES, PRODUCED_AT, latency},
    meter::{self, Done, Reading},
};
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Header, Headers as _},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(rename = "eventId")]
    _event_id: Uuid,
    event_name: &'a str,
    #[serde(rename = "occurredAt")]
    _occurred_at: Timestamp,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Defines four types with the same fields, like the domain that this loop is compared with.
macro_rules! events {
    ($($name:ident)*) => {$(
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct $name {
            order_id: String,
            #[serde(rename = "customerId")]
            _customer_id: String,
            #[serde(rename = "currency")]
            _currency: String,
            items: Vec<Item>,
            total: f64,
        }

        impl $name {
            fn total(data: &RawValue) -> Result<f64, String> {
                let event: Self = serde_json::from_str(data.get()).map_err(|error| error.to_string())?;
                validate(&event.order_id, &event.items)?;
                Ok(event.total)
            }
        }
    )*};
}

events!(Created Paid Shipped Cancelled);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(rename = "sku")]
    _sku: String,
    quantity: i64,
    unit_price: f64,
}

fn validate(order_id: &str, items: &[Item]) -> Result<(), String> {
    if order_id.is_empty() {
        return Err("orderId is empty".to_owned());
    }
    for item in items {
        if item.quantity < 1 || item.unit_price < 0.0 {
            return Err(format!("quantity {} or unitPrice {} is too low", item.quantity, item.unit_price));
        }
    }
    Ok(())
}

fn handle(message: &BorrowedMessage<'_>, counts: &mut Counts) -> Result<(), String> {
    let payload = message.payload().unwrap_or_default();
    let envelope: Envelope<'_> = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    let (place, total) = match envelope.event_name {
        "OrderCreated" => (0, Created::total(envelope.data)?),
        "OrderPaid" => (1, Paid::total(envelope.data)?),
        "OrderShipped" => (2, Shipped::total(envelope.data)?),
        "OrderCancelled" => (3, Cancelled::total(envelope.data)?),
        other => return Err(format!("unknown event {other}")),
    };
    // The data is decoded and validated here, at the point where a processor of `order-bench` starts.
    if meter::latency_skip().is_some() {
        let header = message.headers().and_then(|all| all.iter().find(|header| header.key == PRODUCED_AT));
        counts.latencies.extend(header.and_then(|header| latency(header.value?)));
    }
    counts.counts[place] += 1;
    counts.total += total;
    Ok(())
}

/// Counts dead letters that the broker has refused.
#[derive(Clone, Default)]
struct Refused(Arc<AtomicU64>);

impl ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct DeadLetters {
    topic: String,
    producer: ThreadedProducer<Refused>,
    refused: Refused,
    whole: bool,
}

impl DeadLetters {
    fn new(brokers: &str) -> Self {
        let refused = Refused::default();
        let whole = std::env::var("LETTERS").is_ok_and(|letters| letters == "whole");
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("compression.type", if whole { "lz4" } else { "none" })
            .create_with_context(refused.clone())
            .expect("a producer");
        Self { topic: variable("KAFKA_DLQ_TOPIC"), producer, refused, whole }
    }

    fn send(&self, message: &BorrowedMessage<'_>, error: &str) {
        let place = (message.partition().to_string(), message.offset().to_string());
        let mut headers = message.headers().map(rdkafka::message::BorrowedHeaders::detach).unwrap_or_default();
        for (key, value) in [
            ("dlq-error-message", error),
            ("dlq-topic", message.topic()),
            ("dlq-partition", &place.0),
            ("dlq-offset", &place.1),
        ] {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        if self.whole {
            let id = Uuid::from_u64_pair(message.partition().unsigned_abs().into(), message.offset().unsigned_abs());
            let id = id.simple().to_string();
            let now = Timestamp::now().to_string();
            for (key, value) in [
                ("dlq-id", id.as_str()),
                ("dlq-timestamp", &message.timestamp().to_millis().unwrap_or_default().to_string()),
                ("dlq-consumer-group", "order-service"),
                ("dlq-event-name", "OrderCreated"),
                ("dlq-event-id", &id),
                ("dlq-processor", "EventProcessor_OrderCreated"),
                ("dlq-reason", "invalid"),
                ("dlq-error-code", "invalid_data"),
                ("dlq-attempts", "1"),
                ("dlq-first-failed-at", &now),
                ("dlq-replays", "0"),
                ("dlq-service-version", env!("CARGO_PKG_VERSION")),
            ] {
                headers = headers.insert(Header { key, value: Some(value) });
            }
        }
        let mut record =
            BaseRecord::<[u8], [u8]>::to(&self.topic).payload(message.payload().unwrap_or_default()).headers(headers);
        if let Some(key) = message.key() {
            record = record.key(key);
        }
        while let Err((error, back)) = self.producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            record = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn settle(&self) {
        if self.producer.in_flight_count() > 0 {
            self.producer.flush(Duration::from_secs(30)).expect("dead letters are acknowledged");
        }
        assert_eq!(self.refused.0.load(Ordering::Relaxed), 0, "dead letters were refused");
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn main() {
    let brokers = variable("KAFKA_BROKER_URL");
    let topic = variable("KAFKA_TOPIC");
    let expected = meter::number("EXPECT_EVENTS").expect("EXPECT_EVENTS is a number");
    let batch = meter::number("BATCH").map_or(1, |batch| usize::try_from(batch).unwrap_or(1));
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &brokers)
        .set("group.id", variable("KAFKA_GROUP_ID"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.queue.backoff.ms", "10")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[&topic]).expect("a topic");
    let letters = DeadLetters::new(&brokers);
    let commit = |next: &mut Vec<Option<i64>>, mode| {
        letters.settle();
        let mut list = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(next.iter_mut()) {
            if let Some(offset) = offset.take() {
                list.add_partition_offset(&topic, partition, Offset::Offset(offset)).expect("an offset");
            }
        }
        if list.count() > 0 {
            consumer.commit(&list, mode).expect("the offsets are committed");
        }
    };

    let mut done = Done { name: if batch > 1 { "loop-batches" } else { "loop" }, ..Done::default() };
    let (mut seen, mut begun) = (0, None);
    let mut next: Vec<Option<i64>> = Vec::new();
    let mut committed = Instant::now();
    let mut messages = Vec::with_capacity(batch);
    while seen < expected {
        let mut wait = Duration::from_millis(100);
        while messages.len() < batch
            && let Some(message) = consumer.poll(wait)
        {
            messages.push(message.expect("a record"));
            wait = Duration::ZERO;
        }
        for message in messages.drain(..) {
            begun.get_or_insert_with(Reading::now);
            seen += 1;
            if let Err(error) = handle(&message, &mut done.counts) {
                letters.send(&message, &error);
                done.dead_lettered += 1;
            }
            let partition = usize::try_from(message.partition()).expect("a partition's number is not negative");
            next.resize(next.len().max(partition + 1), None);
            next[partition] = Some(message.offset() + 1);
        }
        if (batch > 1 || seen % 256 == 0) && committed.elapsed() >= Duration::from_secs(1) {
            commit(&mut next, CommitMode::Async);
            committed = Instant::now();
        }
    }
    letters.settle();
    let end = Reading::now();
    commit(&mut next, CommitMode::Sync);
    debug_assert_eq!(done.counts.counts.len(), NAMES.len());
    let line = meter::report(done, begun.expect("there was an event"), end);
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}
