//! Tests of the routes with their layers, and of the accept loop over sockets.

mod administration;
mod browsers;
mod connections;
mod dlq;
mod documented;
mod hosts;
mod limits;
mod page;
mod routes;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header, request},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::{HttpParts, accept::Peer};
use crate::{
    broker::memory::MemoryBroker,
    config::{Config, EnvFile, Flags},
    dead_letters::tests::MemorySource,
    dispatch::Outcome,
    dispatcher::Dispatcher,
    engine::{
        observe::{Operations, OrphanView, OutboxView, PartitionState, PartitionView, ProcessorCounters, StatsView},
        release::{KeySelection, Release},
    },
    exposition::Sources,
    model::{Health, OnExhausted, OutgoingRecord, RetryPolicy},
    registry::{Place, ProcessorEntry, Registry},
    store::{
        Change, Store,
        conformance::fixture::{self, begun, commit, counter_change, counter_row, step},
        memory::MemoryStore,
    },
    telemetry::metrics::Metrics,
};

const PEER: &str = "127.0.0.1:50000";
const STRANGER: &str = "192.0.2.7:50000";

static ADDED: ProcessorEntry = ProcessorEntry {
    event: "Added",
    version: 1,
    name: "EventProcessor_Added",
    summary: "Adds <b>.",
    input: None,
    arguments: &[],
    policy: RetryPolicy {
        retries: 0,
        backoff: std::time::Duration::ZERO,
        backoff_max: std::time::Duration::ZERO,
        timeout: std::time::Duration::from_secs(1),
        on_exhausted: OnExhausted::DeadLetter,
    },
    place: Place { file: "http.rs", line: 1, module: "http" },
    handler: |_| Box::pin(async { Outcome::Done }),
};

/// An engine whose state a test sets.
#[derive(Default)]
struct Shown {
    health: Health,
    orphans: Vec<OrphanView>,
    panics: bool,
    /// Number of counters of 40 kB each, `large-000` and on.
    large: u32,
    paused: AtomicBool,
}

#[async_trait]
impl Operations for Shown {
    fn stats(&self) -> StatsView {
        assert!(!self.panics, "the test makes a handler panic");
        StatsView { consumed: 3, ok: 2, per_second: 0.5, lag: None, ..StatsView::default() }
    }

    fn partitions(&self) -> Vec<PartitionView> {
        vec![PartitionView {
            topic: "things".to_owned(),
            partition: 0,
            state: PartitionState::Running,
            reason: None,
            since: jiff::Timestamp::UNIX_EPOCH,
            position: 3,
            log_end: Some(5),
            lag: Some(2),
            waiting_keys: 0,
            waiting_events: 0,
            waiting_since: None,
        }]
    }

    fn processors(&self) -> Vec<ProcessorCounters> {
        vec![ProcessorCounters { ok: 2, dead_lettered: 0, retried: 1, skipped: 0 }]
    }

    fn breakers(&self) -> Vec<bool> {
        vec![false]
    }

    fn outbox(&self) -> OutboxView {
        OutboxView { records: 4, bytes: 400, refused: 0 }
    }

    fn health(&self) -> Health {
        self.health.clone()
    }

    fn paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    fn pause(&self) {
        self.paused.store(true, Ordering::Relaxed);
    }

    async fn release(&self, which: KeySelection, _: Release) -> usize {
        usize::from(which.all)
    }

    fn orphans(&self) -> Vec<OrphanView> {
        self.orphans.clone()
    }

    async fn give_up(&self, which: KeySelection) -> Result<u64, String> {
        match which.topic.as_deref() {
            Some("orphaned") => Ok(41),
            _ => Err("the topic has no orphaned partition with waiting events".to_owned()),
        }
    }

    fn resume(&self) {
        self.paused.store(false, Ordering::Relaxed);
    }
}

/// The HTTP interface, with everything behind it in memory.
struct Served {
    router: Router,
    broker: Arc<MemoryBroker>,
    shown: Arc<Shown>,
    metrics: Arc<Metrics>,
}

impl Served {
    /// Starts it with these variables.
    async fn with(variables: &[(&str, &str)]) -> Self {
        Self::showing(Shown::default(), variables).await
    }

    /// Starts it with this engine; the store has the counters `c-1` and `c-2`.
    async fn showing(shown: Shown, variables: &[(&str, &str)]) -> Self {
        let environment = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let (config, warnings) =
            Config::load(&Flags::default(), environment, &EnvFile::None).expect("a valid configuration");
        assert!(warnings.iter().all(|warning| !warning.text.contains("is not a setting")), "{warnings:?}");
        let registry = Registry::from_entries(
            std::iter::once(&ADDED),
            std::iter::empty(),
            std::iter::empty(),
            std::iter::empty(),
            &BTreeMap::new(),
        );
        let store = MemoryStore::default();
        let partition = begun(&store, 0).await;
        let mut counters = vec![counter_change("c-1", 1, 0), counter_change("c-2", 2, 0)];
        counters.extend((0..shown.large).map(|number| {
            let mut row = counter_row(&format!("large-{number:03}"), 1, 0);
            row.value.status = "x".repeat(40_000);
            Change::Put { row, expected: 0 }
        }));
        commit(&store, step(&partition, 0, 0).writing(counters)).await;
        let (broker, _) = MemoryBroker::new();
        let shown = Arc::new(shown);
        let registry = Arc::new(registry.expect("one processor does not conflict"));
        let metrics = Metrics::new(1);
        let router = super::router(HttpParts {
            config,
            dispatcher: Dispatcher {
                name: "counters",
                version: "1.2.3",
                package: "counting",
                manifest_dir: "",
                entities: vec![fixture::entity()],
                sample: None,
                on_start: None,
            },
            registry: Arc::clone(&registry),
            store: Arc::new(store) as Arc<dyn Store>,
            operations: Arc::clone(&shown) as Arc<dyn Operations>,
            publisher: Arc::clone(&broker) as _,
            letters: Arc::new(MemorySource(Box::new(letters))),
            sources: Sources {
                name: "counters",
                version: "1.2.3",
                group: "group".to_owned(),
                registry,
                metrics: Arc::clone(&metrics),
                operations: Arc::clone(&shown) as Arc<dyn Operations>,
            },
            embedded_broker: true,
        });
        Self { router, broker, shown, metrics }
    }

    async fn send(&self, request: Request) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: head.status, headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    async fn get(&self, target: &str) -> Answer {
        self.send(get(target).body(Body::empty()).expect("a request")).await
    }

    async fn post(&self, target: &str, body: &str) -> Answer {
        self.send(post(target).body(Body::from(body.to_owned())).expect("a request")).await
    }
}

/// Dead letters of the topic `things`, with the ids `1` and `2` in 32 digits.
fn letters() -> Vec<OutgoingRecord> {
    let letter = |number: u32| {
        let headers = [
            ("dlq-id", format!("{number:032x}")),
            ("dlq-topic", "things".to_owned()),
            ("dlq-partition", "0".to_owned()),
            ("dlq-offset", number.to_string()),
            ("dlq-event-name", "Added".to_owned()),
            ("dlq-event-id", format!("e-{number}")),
            ("dlq-reason", if number == 1 { "rejected" } else { "invalid" }.to_owned()),
        ];
        OutgoingRecord {
            topic: "things-dlq".into(),
            partition: None,
            key: Some(b"c-1".to_vec().into()),
            payload: Some(format!(r#"{{"eventId":"e-{number}","eventName":"Added","data":{{"n":{number}}}}}"#).into()),
            headers: headers.map(|(name, value)| (name, Some(value))).into_iter().collect(),
            timestamp: None,
        }
    };
    vec![letter(1), letter(2)]
}

/// A request as a client on the same machine sends it.
fn get(target: &str) -> request::Builder {
    let peer: SocketAddr = PEER.parse().expect("an address");
    Request::builder().uri(target).header(header::HOST, "localhost:8000").extension(Peer(peer))
}

fn post(target: &str) -> request::Builder {
    get(target).method(Method::POST).header(header::CONTENT_TYPE, "application/json")
}

/// The same from another machine.
fn from_elsewhere(request: request::Builder) -> request::Builder {
    let peer: SocketAddr = STRANGER.parse().expect("an address");
    request.extension(Peer(peer))
}

fn empty(request: request::Builder) -> Request {
    request.body(Body::empty()).expect("a request")
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Asserts that it is a problem document with this status, and returns its detail.
    #[track_caller]
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["title"], self.status.canonical_reason().expect("a known status"));
        problem["detail"].as_str().expect("a text").to_owned()
    }
}
