//! A test rig: a running engine whose processors act as the data of their events requests.

use std::{cell::Cell, collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    broker::memory::MemoryBroker,
    config::{OffsetReset, OnTruncation},
    dispatch::{Class, Delivery, Emitter, Event, Failed, FailedAttempt, Injectable, Outcome, WorkingSet},
    dispatcher::Dispatcher,
    engine::{
        EngineHandle, Parts, Settings, SystemClock,
        observe::StatsView,
        simulation::{Gate, SimulatedStore},
        start,
    },
    model::{OnExhausted, OutgoingRecord, PartitionId, RetryPolicy, TopicPattern},
    registry::{Place, ProcessorEntry, Registry},
    store::{Entity, EntityType, Store, conformance::fixture::Counter, memory::MemoryStore},
    telemetry::{ObservedPublisher, metrics::Metrics},
    trace::Tracer,
};

pub(super) const PLACE: Place = Place { file: "rig.rs", line: 1, module: "rig" };

pub(super) const POLICY: RetryPolicy = RetryPolicy {
    retries: 3,
    backoff: Duration::from_millis(20),
    backoff_max: Duration::from_millis(40),
    timeout: Duration::from_millis(400),
    on_exhausted: OnExhausted::DeadLetter,
};

pub(super) const fn processor(event: &'static str, policy: RetryPolicy) -> ProcessorEntry {
    ProcessorEntry {
        event,
        version: 1,
        name: "EventProcessor_Rig",
        summary: "",
        input: None,
        arguments: &[],
        policy,
        place: PLACE,
        handler: |delivery| Box::pin(act(delivery)),
    }
}

thread_local! {
    /// The number of attempts at `Deadly` events; each stands for a death of the process. A rig runs on one thread.
    pub(super) static DEATHS: Cell<u32> = const { Cell::new(0) };
    /// Whether the dependency of `Dependent` events is unavailable. A rig runs on one thread.
    pub(super) static AWAY: Cell<bool> = const { Cell::new(false) };
}

/// Functions that `Calling` events call, by the id in their data. A function blocks its thread while it runs.
pub(super) static CALLS: Mutex<BTreeMap<String, Box<dyn FnOnce() + Send>>> = Mutex::new(BTreeMap::new());

static PROCESSORS: [ProcessorEntry; 10] = [
    ProcessorEntry {
        name: "EventProcessor_Calling",
        handler: |delivery| {
            Box::pin(async move {
                let Ok(event) = delivery.event::<Value>() else { return Outcome::Done };
                let call = CALLS.lock().remove(event.data["id"].as_str().unwrap_or_default());
                if let Some(call) = call {
                    call();
                }
                Outcome::Done
            })
        },
        ..processor("Calling", POLICY)
    },
    ProcessorEntry {
        handler: |delivery| {
            Box::pin(async {
                if AWAY.get() {
                    let failed = Failed::unavailable("away", "the dependency is unavailable");
                    return Outcome::Failed(failed.into());
                }
                act(delivery).await
            })
        },
        ..processor("Dependent", RetryPolicy { backoff: Duration::from_millis(5), ..POLICY })
    },
    processor("Added", POLICY),
    processor(
        "Patient",
        RetryPolicy { backoff: Duration::from_mins(1), backoff_max: Duration::from_mins(1), ..POLICY },
    ),
    processor("Parked", RetryPolicy { retries: 0, on_exhausted: OnExhausted::ParkKey, ..POLICY }),
    ProcessorEntry {
        handler: |delivery| {
            Box::pin(async move {
                if delivery.event::<Value>().is_ok_and(|event| event.data["then"] == "dawdle") {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                DEATHS.set(DEATHS.get() + 1);
                std::future::pending().await
            })
        },
        ..processor("Deadly", POLICY)
    },
    ProcessorEntry { handler: |delivery| Box::pin(stray(delivery)), ..processor("Stray", POLICY) },
    processor("Stopping", RetryPolicy { retries: 0, on_exhausted: OnExhausted::Stop, ..POLICY }),
    ProcessorEntry {
        handler: |delivery| Box::pin(async move { super::bad_input::measure(&delivery) }),
        ..processor("Measured", POLICY)
    },
    processor("Twice", RetryPolicy { retries: 2, ..POLICY }),
];

/// An entity that is not declared to the rig's engine.
#[derive(Clone, serde::Serialize)]
struct Stray(String);

impl Entity for Stray {
    type Id = String;
    const TABLE: &'static str = "strays";

    fn id(&self) -> &String {
        &self.0
    }
}

/// Uses an undeclared entity in the way that `then` names.
async fn stray(delivery: Delivery) -> Outcome {
    let event: Event<Value> = match delivery.event() {
        Ok(event) => event,
        Err(outcome) => return outcome,
    };
    let strays = WorkingSet::<Stray>::inject(&delivery);
    match event.data["then"].as_str().unwrap_or_default() {
        "put" => strays.put(Stray("a".to_owned())),
        "get_later" => {
            tokio::time::sleep(Duration::from_millis(100)).await;
            strays.get(&"a".to_owned()).await;
        }
        _ => drop(strays.get(&"a".to_owned()).await),
    }
    Outcome::Done
}

/// Appends the digit `add` to the counter `id` and then acts as `then` requests: fails, panics, hangs, emits events and so on.
async fn act(delivery: Delivery) -> Outcome {
    let event: Event<Value> = match delivery.event() {
        Ok(event) => event,
        Err(outcome) => return outcome,
    };
    let counters = WorkingSet::<Counter>::inject(&delivery);
    let id = event.data["id"].as_str().unwrap_or("none").to_owned();
    let found = counters.get(&id).await;
    let is_new = found.is_none();
    let mut counter = found.unwrap_or(Counter { id, status: "open".to_owned(), n: 0 });
    counter.n = counter.n * 10 + event.data["add"].as_i64().unwrap_or_default();
    counters.put(counter);
    let failed = |class| {
        Outcome::Failed(FailedAttempt { class, code: "told_to".into(), message: "requested by the event".to_owned() })
    };
    let then = event.data["then"].as_str().unwrap_or_default();
    if then.starts_with("emit") {
        let emitter = Emitter::inject(&delivery);
        for number in [1, 2] {
            let emitted = if then == "emit_elsewhere" {
                emitter.emit_to("elsewhere", "Echoed", "echo", &number)
            } else if then == "emit_to_itself" {
                // The first event has version 2, which has no processor. This processor handles the second, of version 1.
                emitter.version(3 - number).emit("Added", "echo", &serde_json::json!({"id": "echo", "add": number}))
            } else {
                emitter.emit("Echoed", "echo", &number)
            };
            emitted.expect("a small event with a name");
        }
    }
    match then {
        "fail_once" if event.attempt() == 1 => failed(Class::Retry),
        "retry" => failed(Class::Retry),
        "reject" | "emit_and_reject" => failed(Class::DeadLetter),
        "reject_if_new" if is_new => failed(Class::DeadLetter),
        "skip" => failed(Class::Skip),
        "park" => failed(Class::ParkKey),
        "stop_once" if event.attempt() == 1 => failed(Class::Stop),
        "panic" => panic!("requested by the event"),
        "hang" => std::future::pending().await,
        // Only one test may use this: when several threads reach a log line first, the subscriber of one may miss the line.
        "speak" => {
            tokio::task::yield_now().await;
            tracing::info!(offset = "the processor's own", "spoke");
            Outcome::Done
        }
        "dawdle" | "dawdle_and_fail_once" => {
            // Several steps, as in a processor that makes several calls: the attempt must be polled again after each.
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            if then == "dawdle" || event.attempt() > 1 { Outcome::Done } else { failed(Class::Retry) }
        }
        _ => Outcome::Done,
    }
}

/// The rig's processors, except those of the events in `without`.
pub(crate) fn registry(without: &[&str]) -> Arc<Registry> {
    let registry = Registry::from_entries(
        PROCESSORS.iter().filter(|entry| !without.contains(&entry.event)),
        std::iter::empty(),
        std::iter::empty(),
        std::iter::empty(),
        &BTreeMap::new(),
    );
    Arc::new(registry.expect("the rig's processors do not conflict"))
}

pub(crate) fn settings() -> Settings {
    Settings {
        group: "group".to_owned(),
        topics: vec![TopicPattern::named("things")],
        dlq_topic: "things-dlq".into(),
        dlq_headers: Vec::new(),
        service_version: "0.0.0",
        reset: OffsetReset::Earliest,
        on_truncation: OnTruncation::Stop,
        retry_max_elapsed: None,
        drain: Duration::from_secs(5),
        retention: Duration::from_hours(24),
        shadow: false,
    }
}

pub(crate) struct Rig {
    pub(crate) broker: Arc<MemoryBroker>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: EngineHandle,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<Metrics>,
    next_id: Cell<u32>,
}

impl Rig {
    /// Starts an engine on a new memory store and assigns partition 0.
    pub(crate) async fn start() -> Self {
        let rig = Self::start_on(Arc::new(MemoryStore::default())).await;
        rig.broker.assign(&[MemoryBroker::partition(0)]).await;
        rig
    }

    /// Starts an engine on a store that the returned gate controls, and assigns partition 0.
    pub(super) async fn behind_a_gate() -> (Self, Arc<Gate>) {
        let gate = Arc::new(Gate::default());
        let rig = Self::start_on(SimulatedStore::behind(&gate)).await;
        rig.broker.assign(&[partition()]).await;
        (rig, gate)
    }

    /// Starts an engine without an assignment, on a store that may already hold data.
    pub(crate) async fn start_on(store: Arc<dyn Store>) -> Self {
        Self::start_as(store, settings(), None).await
    }

    /// Starts an engine without an assignment, with these settings.
    pub(crate) async fn start_with(store: Arc<dyn Store>, settings: Settings) -> Self {
        Self::start_as(store, settings, None).await
    }

    /// Starts an engine without an assignment that traces with `tracer`.
    pub(crate) async fn start_traced(store: Arc<dyn Store>, tracer: Option<Arc<Tracer>>) -> Self {
        Self::start_as(store, settings(), tracer).await
    }

    async fn start_as(store: Arc<dyn Store>, settings: Settings, tracer: Option<Arc<Tracer>>) -> Self {
        let (broker, events) = MemoryBroker::new();
        let registry = registry(&[]);
        let metrics = Metrics::new(registry.processors().len());
        let store_id = store.claim("group").await.expect("a new store has no group");
        let engine = start(Parts {
            registry: Arc::clone(&registry),
            store: Arc::clone(&store),
            store_id,
            consumer: Arc::clone(&broker) as _,
            metadata: Some(Arc::clone(&broker) as _),
            events,
            publisher: ObservedPublisher::new(Arc::clone(&broker) as _, Arc::clone(&metrics), tracer.clone()),
            entities: vec![EntityType::of::<Counter>()],
            settings,
            clock: Arc::new(SystemClock),
            metrics: Arc::clone(&metrics),
            tracer: tracer.clone(),
        });
        Self { broker, store, engine, registry, metrics, next_id: Cell::new(1) }
    }

    /// Appends an event to partition 0 under the key `key`, which is also the counter's id.
    pub(crate) fn send(&self, name: &str, key: &str, add: i64, then: &str) -> String {
        let id = format!("event-{}", self.next_id.replace(self.next_id.get() + 1));
        self.send_as(&id, name, key, add, then);
        id
    }

    /// Appends an event with this id to partition 0.
    pub(crate) fn send_as(&self, id: &str, name: &str, key: &str, add: i64, then: &str) {
        self.send_to(&partition(), id, name, key, add, then);
    }

    /// Appends an event with this id to `partition`.
    pub(crate) fn send_to(&self, partition: &PartitionId, id: &str, name: &str, key: &str, add: i64, then: &str) {
        let payload = json!({ "eventId": id, "eventName": name, "data": { "id": key, "add": add, "then": then } });
        self.broker.append(partition, Some(key), &payload.to_string(), &[]);
    }

    pub(crate) fn stats(&self) -> StatsView {
        self.engine.operations().stats()
    }

    /// The counter's number and version. The digits of the number name the applied events, in order.
    pub(crate) async fn counter(&self, id: &str) -> Option<(i64, u64)> {
        let view = self.store.view(EntityType::of::<Counter>(), id).await.expect("memory answers")?;
        Some((view["n"].as_i64().expect("a number"), view["version"].as_u64().expect("a number")))
    }

    /// Waits until `condition` holds; panics after 30 s.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waited = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        // Long, because the machine may be busy with other tests.
        let came_true = tokio::time::timeout(Duration::from_secs(30), waited).await.is_ok();
        let partitions = self.engine.operations().partitions();
        assert!(came_true, "timed out waiting for: {what}; {:?}, {partitions:?}", self.stats());
    }

    /// Waits until every record is handled and no event waits.
    pub(crate) async fn settled(&self) {
        self.until("all events are settled", |rig| {
            let partitions = rig.engine.operations().partitions();
            !partitions.is_empty()
                && partitions.iter().all(|partition| partition.lag == Some(0) && partition.waiting_events == 0)
        })
        .await;
    }

    /// Waits until `count` records are published and returns them; panics if there are more.
    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<OutgoingRecord> {
        self.until("the dead letters", |rig| rig.broker.published().len() >= count).await;
        let letters = self.broker.published();
        assert_eq!(letters.len(), count);
        letters
    }
}

/// A dispatcher without entities.
pub(crate) fn dispatcher() -> Dispatcher {
    Dispatcher {
        name: "things",
        version: "1.2.3",
        package: "thing-service",
        manifest_dir: "",
        entities: Vec::new(),
        sample: None,
        on_start: None,
    }
}

/// A header of a dead letter as text.
pub(crate) fn header(letter: &OutgoingRecord, name: &str) -> String {
    let value = letter.headers.get(name).expect("the header is there and has a value");
    String::from_utf8(value.to_vec()).expect("text")
}

pub(crate) fn partition() -> PartitionId {
    MemoryBroker::partition(0)
}
