//! All metrics. Names follow OpenTelemetry's conventions for messaging if these have one; others begin with the domain's name.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    family::{Family, Kind, Unit, Value},
    process,
};
use crate::{
    engine::observe::{Operations, PartitionState, PartitionView},
    registry::Registry,
    telemetry::{logs, metrics::Metrics},
};

/// Replaces the names of undeclared events, because a producer may send any name.
const UNKNOWN: &str = "unknown";

/// The sources that metrics are read from.
#[derive(Clone)]
pub(crate) struct Sources {
    /// The domain's name, the prefix of our own metrics.
    pub(crate) name: &'static str,
    /// The service's version.
    pub(crate) version: &'static str,
    /// The consumer group.
    pub(crate) group: String,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) operations: Arc<dyn Operations>,
}

type Labels = Vec<(&'static str, String)>;

fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Labels {
    pairs.map(|(name, value)| (name, value.to_owned())).to_vec()
}

impl Sources {
    /// All metrics as they are now.
    pub(crate) fn read(&self) -> Vec<Family> {
        let mut families = self.messaging();
        families.extend(self.events());
        families.extend(self.partitions());
        families.extend(self.store());
        families.extend(self.condition());
        families.extend(process::families());
        families
    }

    /// One of our own metrics.
    fn own(&self, name: &str, kind: Kind, help: &'static str) -> Family {
        Family::new(format!("{}.{name}", self.name), kind, help)
    }

    /// The metrics of OpenTelemetry's conventions: <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/>.
    fn messaging(&self) -> Vec<Family> {
        let mut consumed = Family::new("messaging.client.consumed.messages", Kind::Counter, "Records taken from Kafka");
        let mut process = Family::new(
            "messaging.process.duration",
            Kind::Histogram,
            "Duration of one attempt at an event; attempts that do not wait share the time of their batch evenly",
        )
        .in_unit(Unit::Seconds);
        for (name, topic) in self.metrics.topics() {
            let of = |operation: &str| {
                labels([
                    ("messaging_system", "kafka"),
                    ("messaging_destination_name", &name),
                    ("messaging_consumer_group_name", &self.group),
                    ("messaging_operation_name", operation),
                ])
            };
            consumed.add(of("poll"), Value::Whole(topic.consumed.load(Ordering::Relaxed)));
            for (entry, [succeeded, failed]) in self.registry.processors().iter().zip(&topic.attempts) {
                let mut labels = of("process");
                labels.push(("event", entry.event.to_owned()));
                process.add(labels.clone(), Value::Histogram(succeeded.read()));
                // The conventions' value for errors without a type; dead letters have their reasons.
                labels.push(("error_type", "_OTHER".to_owned()));
                process.add(labels, Value::Histogram(failed.read()));
            }
        }
        let mut sent = Family::new(
            "messaging.client.sent.messages",
            Kind::Counter,
            "Records sent to Kafka: dead letters, emitted events, events received over HTTP",
        );
        let mut operation = Family::new(
            "messaging.client.operation.duration",
            Kind::Histogram,
            "Time until the broker answered for records that were sent together",
        )
        .in_unit(Unit::Seconds);
        for ((topic, error), sends) in self.metrics.sends() {
            let mut labels = labels([
                ("messaging_system", "kafka"),
                ("messaging_destination_name", &topic),
                ("messaging_operation_name", "send"),
            ]);
            labels.extend(error.map(|error| ("error_type", error.to_owned())));
            sent.add(labels.clone(), Value::Whole(sends.records));
            operation.add(labels, Value::Histogram(sends.duration.read()));
        }
        vec![consumed, process, sent, operation]
    }

    fn events(&self) -> Vec<Family> {
        let processors = self.operations.processors();
        let mut events =
            self.own("events", Kind::Counter, "Events by outcome; retried counts the attempts after a first one");
        for (entry, counts) in self.registry.processors().iter().zip(&processors) {
            let version = entry.version.to_string();
            for (outcome, count) in [
                ("ok", counts.ok),
                ("skipped", counts.skipped),
                ("dead_lettered", counts.dead_lettered),
                ("retried", counts.retried),
            ] {
                let labels = labels([("event", entry.event), ("version", &version), ("outcome", outcome)]);
                events.add(labels, Value::Whole(count));
            }
        }
        // Events for which no processor was called. A repeat is recognized by its id before its processor is looked up.
        for (outcome, count) in
            [("repeated", &self.metrics.repeated), ("dead_lettered", &self.metrics.unplaced_letters)]
        {
            let count = Value::Whole(count.load(Ordering::Relaxed));
            events.add(labels([("event", UNKNOWN), ("version", ""), ("outcome", outcome)]), count);
        }
        let mut letters =
            self.own("dead_letters", Kind::Counter, "Dead letters by the value of their header dlq-reason");
        for (reason, count) in self.metrics.dead_letters() {
            letters.add(labels([("reason", reason.as_str())]), Value::Whole(count));
        }
        let mut age = self
            .own("event.age", Kind::Histogram, "Age of a record when its batch was committed")
            .in_unit(Unit::Seconds);
        let mut implausible = self.own(
            "event.implausible.times",
            Kind::Counter,
            "Records without an age, because their timestamp is implausible: before 2011, or more than an hour ahead",
        );
        for (name, topic) in self.metrics.topics() {
            let labels = labels([("topic", &name)]);
            age.add(labels.clone(), Value::Histogram(topic.age.read()));
            implausible.add(labels, Value::Whole(topic.implausible_times.load(Ordering::Relaxed)));
        }
        vec![events, letters, age, implausible]
    }

    fn partitions(&self) -> Vec<Family> {
        let views = self.operations.partitions();
        let gauge = |name, help, value: &dyn Fn(&PartitionView) -> Option<u64>| {
            let mut family = self.own(name, Kind::Gauge, help);
            for view in &views {
                let labels = labels([("topic", &view.topic), ("partition", &view.partition.to_string())]);
                if let Some(value) = value(view) {
                    family.add(labels, Value::Whole(value));
                }
            }
            family
        };
        let now = Timestamp::now();
        let waited = |view: &PartitionView| {
            let waited = view.waiting_since.and_then(|since| Duration::try_from(now.duration_since(since)).ok());
            Some(waited.unwrap_or_default().as_secs())
        };
        let mut states = self.own("partitions", Kind::Gauge, "Assigned partitions by state");
        for (state, name) in PartitionState::ALL {
            let count = views.iter().filter(|view| view.state == state).count();
            states.add(labels([("state", name)]), Value::Whole(count as u64));
        }
        vec![
            gauge("consumer.lag", "Records between a partition's position and the end of its log", &|view| view.lag),
            gauge("waiting.keys", "Keys with waiting events", &|view| Some(view.waiting_keys as u64)),
            gauge("waiting.events", "Waiting events", &|view| Some(view.waiting_events as u64)),
            gauge("waiting.oldest", "Waiting time of the key that has waited longest; 0 if none waits", &waited)
                .in_unit(Unit::Seconds),
            states,
        ]
    }

    fn store(&self) -> Vec<Family> {
        let metrics = &self.metrics;
        let outbox = self.operations.outbox();
        let counter =
            |name, help, count: u64| self.own(name, Kind::Counter, help).with(Vec::new(), Value::Whole(count));
        let log = self.operations.store_log_bytes().map(|bytes| {
            self.own("store.log", Kind::Gauge, "Size of the store's write-ahead log")
                .in_unit(Unit::Bytes)
                .with(Vec::new(), Value::Whole(bytes))
        });
        let mut families = vec![
            self.own("store.commit.duration", Kind::Histogram, "Duration of one transaction of the store")
                .in_unit(Unit::Seconds)
                .with(Vec::new(), Value::Histogram(metrics.commit_duration.read())),
            self.own("store.commit.events", Kind::Histogram, "Records in one transaction of the store")
                .with(Vec::new(), Value::Histogram(metrics.commit_events.read())),
            counter(
                "store.commit.failures",
                "Transactions that the store did not answer, or answered with an error",
                metrics.failed_commits.load(Ordering::Relaxed),
            ),
            self.own("outbox.records", Kind::Gauge, "Dead letters and emitted events that are not published yet")
                .with(Vec::new(), Value::Whole(outbox.records)),
            self.own("outbox.refused", Kind::Gauge, "Outbox records that their topic refuses until an operator acts")
                .with(Vec::new(), Value::Whole(outbox.refused)),
            self.own("outbox", Kind::Gauge, "Size of the records that are not published yet")
                .in_unit(Unit::Bytes)
                .with(Vec::new(), Value::Whole(outbox.bytes)),
        ];
        families.extend(log);
        families
    }

    fn condition(&self) -> Vec<Family> {
        let metrics = &self.metrics;
        let health = self.operations.health();
        let flag =
            |name, help, is: bool| self.own(name, Kind::Gauge, help).with(Vec::new(), Value::Whole(u64::from(is)));
        let mut breakers = self.own(
            "breaker.open",
            Kind::Gauge,
            "1 while a circuit breaker of the processor is open, so that only a few of its events are tried",
        );
        for (entry, is_open) in self.registry.processors().iter().zip(self.operations.breakers()) {
            let version = entry.version.to_string();
            breakers.add(labels([("event", entry.event), ("version", &version)]), Value::Whole(u64::from(is_open)));
        }
        let mut rebalances = self.own("rebalances", Kind::Counter, "Partitions that were assigned, revoked or lost");
        for (kind, count) in [("assigned", &metrics.assigned), ("revoked", &metrics.revoked), ("lost", &metrics.lost)] {
            rebalances.add(labels([("kind", kind)]), Value::Whole(count.load(Ordering::Relaxed)));
        }
        let mut refused = self.own("http.refused", Kind::Counter, "Connections and requests that HTTP refused");
        for (why, count) in metrics.http_refused() {
            refused.add(labels([("reason", why.as_str())]), Value::Whole(count));
        }
        vec![
            refused,
            flag("live", "1 while /health/live answers 200", health.not_live.is_empty()),
            flag("ready", "1 while /health/ready answers 200", health.not_ready.is_empty()),
            breakers,
            rebalances,
            self.own(
                "dropped.offsets",
                Kind::Counter,
                "Offsets that Kafka deleted before they were handled: lost records",
            )
            .with(Vec::new(), Value::Whole(metrics.dropped_offsets.load(Ordering::Relaxed))),
            self.own(
                "restored.offsets",
                Kind::Counter,
                "Offsets that are handled again because the store was restored from an older copy",
            )
            .with(Vec::new(), Value::Whole(metrics.restored_offsets.load(Ordering::Relaxed))),
            self.own(
                "log.dropped_lines",
                Kind::Counter,
                "Log lines that were dropped because the reader of the log was too slow",
            )
            .with(Vec::new(), Value::Whole(logs::dropped())),
            self.own("build.info", Kind::Gauge, "Always 1; the labels have the versions of service and runtime").with(
                labels([("version", self.version), ("runtime_version", env!("CARGO_PKG_VERSION"))]),
                Value::Whole(1),
            ),
        ]
    }
}
