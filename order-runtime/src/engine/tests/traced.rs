//! Spans and metrics of events as an OTLP collector receives them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
    sync::Arc,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use parking_lot::Mutex;
use prost::Message as _;

use super::rig::{Rig, dispatcher, header, partition};
use crate::{
    broker::Publisher as _,
    config::Config,
    exposition::{Sources, otlp::Otlp},
    model::{HeaderBlock, OutgoingRecord},
    store::memory::MemoryStore,
    telemetry::ObservedPublisher,
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An OTLP collector that keeps the spans, metric names and resource attributes that it receives.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<BTreeSet<String>>>,
    resources: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Collector {
    /// Listens on a free port; returns the collector and its endpoint.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let router = Router::new()
            .route("/v1/traces", post(|State(own): State<Self>, body: Bytes| async move { own.traces(body) }))
            .route("/v1/metrics", post(|State(own): State<Self>, body: Bytes| async move { own.metrics(body) }))
            .with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, endpoint)
    }

    fn traces(&self, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body).expect("spans by OTLP");
        for of_resource in request.resource_spans {
            let attributes = of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            self.resources.lock().extend(attributes.iter().map(|pair| (pair.key.clone(), text(pair))));
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().extend(spans);
        }
    }

    fn metrics(&self, body: Bytes) {
        let request = ExportMetricsServiceRequest::decode(body).expect("metrics by OTLP");
        let scopes = request.resource_metrics.into_iter().flat_map(|of_resource| of_resource.scope_metrics);
        self.metrics.lock().extend(scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name));
    }
}

fn text(pair: &KeyValue) -> String {
    match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("a text or a number is expected: {other:?}"),
    }
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key == name).map(text)
}

struct Traced {
    collector: Collector,
    otlp: Otlp,
    rig: Rig,
}

impl Traced {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let (collector, endpoint) = Collector::start().await;
        let mut environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), endpoint)];
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let loaded = Config::load(&crate::config::Flags::default(), environment, &crate::config::EnvFile::None);
        let (config, _) = loaded.expect("a valid configuration");
        let otlp = Otlp::start(&config.otlp, &dispatcher(), "group").expect("an exporter").expect("an endpoint");
        let rig = Rig::start_traced(Arc::new(MemoryStore::default()), otlp.tracer()).await;
        rig.broker.assign(&[partition()]).await;
        Self { collector, otlp, rig }
    }

    /// Appends an event of the key `a` with these headers.
    fn send(&self, name: &str, id: &str, then: &str, headers: &[(&str, &str)]) {
        let payload =
            serde_json::json!({ "eventId": id, "eventName": name, "data": { "id": "a", "add": 1, "then": then } });
        self.rig.broker.append(&partition(), Some("a"), &payload.to_string(), headers);
    }

    /// Stops the exporter; returns all exported spans, oldest first, and the collector.
    async fn end(self) -> (Vec<Span>, Collector) {
        self.otlp.end().await;
        let mut spans = std::mem::take(&mut *self.collector.spans.lock());
        spans.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
        (spans, self.collector)
    }
}

/// Renders spans as text, one a line, with letters instead of their ids.
fn drawn(spans: &[Span]) -> String {
    let letters: BTreeMap<&[u8], char> = spans.iter().map(|span| span.span_id.as_slice()).zip('a'..).collect();
    let letter = |id: &[u8]| letters.get(id).map_or_else(|| "-".to_owned(), char::to_string);
    let mut out = String::new();
    for span in spans {
        let kind = SpanKind::try_from(span.kind).map(|kind| kind.as_str_name()).unwrap_or_default();
        let links: Vec<String> = span.links.iter().map(|link| letter(&link.span_id)).collect();
        let shown = ["things.attempt", "things.outcome", "error.type"];
        let shown: Vec<String> = shown
            .iter()
            .filter_map(|name| attribute(span, name).map(|value| format!("{}={value}", name.replace("things.", ""))))
            .collect();
        let line = format!(
            "{}  {:<16} {:<8}  parent {}  links {:<3}  {}",
            letter(&span.span_id),
            span.name,
            kind.trim_start_matches("SPAN_KIND_").to_lowercase(),
            letter(&span.parent_span_id),
            if links.is_empty() { "-".to_owned() } else { links.join(" ") },
            shown.join("  "),
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// Publishes a record with the service's publisher, then appends an event `Twice` with the `traceparent` of that record.
async fn produce(traced: &Traced, id: &str) {
    let broker = &traced.rig.broker;
    let tracer = traced.otlp.tracer();
    let publisher = ObservedPublisher::new(Arc::clone(broker) as _, Arc::clone(&traced.rig.metrics), tracer);
    let record = OutgoingRecord {
        topic: "things".into(),
        partition: None,
        key: None,
        payload: None,
        headers: HeaderBlock::default(),
        timestamp: None,
    };
    assert!(publisher.publish([Arc::new(record)].into()).await[0].is_ok());
    let created = broker.published().pop().expect("it is published");
    let parent = header(&created, "traceparent");
    traced.send("Twice", id, "retry", &[("traceparent", &parent)]);
}

#[tokio::test]
async fn one_trace_shows_an_event_over_two_retries_and_its_dead_letter() {
    let traced = Traced::start(&[]).await;
    produce(&traced, "event-1").await;
    let letters = traced.rig.dead_letters(2).await;
    let carried = header(&letters[1], "traceparent");
    let (spans, collector) = traced.end().await;
    let expected = "\
a  send things      producer  parent -  links -
b  process things   consumer  parent a  links a    attempt=1  outcome=retried  error.type=told_to
c  process things   consumer  parent a  links a b  attempt=2  outcome=retried  error.type=told_to
d  process things   consumer  parent a  links a b  attempt=3  outcome=dead_lettered  error.type=told_to
e  send things-dlq  producer  parent a  links -
";
    assert_eq!(drawn(&spans), expected);
    assert!(spans.iter().all(|span| span.trace_id == spans[0].trace_id), "one trace: {spans:?}");
    let created = u64::from_be_bytes(spans[0].span_id.as_slice().try_into().expect("eight bytes"));
    assert!(
        carried.contains(&format!("{created:016x}")),
        "a replay of the dead letter continues this trace: {carried}"
    );
    let attempt = &spans[3];
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "process"),
        ("messaging.destination.name", "things"),
        ("messaging.destination.partition.id", "0"),
        ("messaging.kafka.offset", "0"),
        ("messaging.consumer.group.name", "group"),
        ("messaging.message.id", "event-1"),
        ("things.event", "Twice"),
        ("code.function.name", "EventProcessor_Rig"),
    ] {
        assert_eq!(attribute(attempt, name).as_deref(), Some(value), "{name} of {attempt:?}");
    }
    assert!(attempt.start_time_unix_nano >= spans[2].end_time_unix_nano, "attempts do not overlap");
    let resources = collector.resources.lock().clone();
    assert_eq!(resources.get("service.name").map(String::as_str), Some("thing-service"), "{resources:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tracing.md");
    let shown = std::fs::read_to_string(path).expect("docs/tracing.md is in the repository");
    assert!(shown.contains(expected), "docs/tracing.md shows this trace:\n{expected}");
}

#[tokio::test]
async fn without_a_producers_context_the_first_attempt_begins_the_trace() {
    let traced = Traced::start(&[]).await;
    traced.send("Twice", "event-1", "fail_once", &[]);
    traced.send("Nobody", "event-2", "", &[("traceparent", "garbage")]);
    traced.rig.settled().await;
    let letters = traced.rig.dead_letters(1).await;
    assert_eq!(header(&letters[0], "traceparent"), "garbage", "the producer's headers are unchanged");
    let (spans, _) = traced.end().await;
    let of = |event: &str| {
        let of_event = |span: &&Span| attribute(span, "things.event").as_deref() == Some(event);
        spans.iter().filter(of_event).cloned().collect::<Vec<_>>()
    };
    let expected = "\
a  process things   consumer  parent -  links -    attempt=1  outcome=retried  error.type=told_to
b  process things   consumer  parent a  links a    attempt=2  outcome=ok
";
    assert_eq!(drawn(&of("Twice")), expected);
    let expected = "\
a  process things   consumer  parent -  links -    attempt=1  outcome=dead_lettered  error.type=unknown_event
";
    assert_eq!(drawn(&of("Nobody")), expected, "the trace shows that no processor was called");
}

#[tokio::test]
async fn emitted_events_continue_the_trace_of_their_cause() {
    let traced = Traced::start(&[]).await;
    traced.send("Added", "event-1", "emit", &[("traceparent", PARENT), ("tracestate", "vendor=1")]);
    traced.rig.until("both are published", |rig| rig.broker.published().len() == 2).await;
    let emitted = traced.rig.broker.published();
    assert_eq!(header(&emitted[0], "tracestate"), "vendor=1");
    let (spans, _) = traced.end().await;
    let expected = "\
a  process things   consumer  parent -  links -    attempt=1  outcome=ok
b  send things      producer  parent a  links -
c  send things      producer  parent a  links -
";
    assert_eq!(drawn(&spans), expected, "the producer's own span is not exported");
    assert!(spans.iter().all(|span| span.trace_id
        == [0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c]));
}

#[tokio::test]
async fn an_unsampled_trace_is_not_exported() {
    let traced = Traced::start(&[]).await;
    let unwanted = PARENT.replace("-01", "-00");
    traced.send("Added", "event-1", "emit", &[("traceparent", &unwanted)]);
    traced.rig.until("both are published", |rig| rig.broker.published().len() == 2).await;
    let emitted = traced.rig.broker.published();
    let carried = header(&emitted[0], "traceparent");
    assert!(carried.starts_with(&PARENT[..35]) && carried.ends_with("-00"), "the decision is passed on: {carried}");
    assert_eq!(drawn(&traced.end().await.0), "");
}

#[tokio::test]
async fn without_an_exporter_a_context_is_passed_on() {
    let rig = Rig::start().await;
    let payload = serde_json::json!({ "eventName": "Added", "data": { "id": "a", "add": 1, "then": "emit" } });
    let headers = [("traceparent", PARENT)];
    rig.broker.append(&partition(), Some("a"), &payload.to_string(), &headers);
    rig.until("both are published", |rig| rig.broker.published().len() == 2).await;
    assert_eq!(header(&rig.broker.published()[0], "traceparent"), PARENT);
}

#[tokio::test]
async fn metrics_are_exported_too() {
    let mut traced = Traced::start(&[("OTEL_METRIC_EXPORT_INTERVAL", "20")]).await;
    traced.otlp.export_metrics(Sources {
        name: "things",
        version: "1.2.3",
        group: "group".to_owned(),
        registry: Arc::clone(&traced.rig.registry),
        metrics: Arc::clone(&traced.rig.metrics),
        operations: traced.rig.engine.operations(),
    });
    let collector = traced.collector.clone();
    traced.rig.until("metrics arrive", |_| !collector.metrics.lock().is_empty()).await;
    let names = collector.metrics.lock().clone();
    for name in ["messaging.process.duration", "things.events", "things.consumer.lag"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
}

#[tokio::test]
async fn an_unavailable_collector_delays_no_event() {
    let mut traced = Traced::start(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "100")]).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let config = Config::load(
        &crate::config::Flags::default(),
        [("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), nobody)],
        &crate::config::EnvFile::None,
    );
    let config = config.expect("a valid configuration").0;
    traced.otlp = Otlp::start(&config.otlp, &dispatcher(), "group").expect("an exporter").expect("an endpoint");
    let rig = Rig::start_traced(Arc::new(MemoryStore::default()), traced.otlp.tracer()).await;
    rig.broker.assign(&[partition()]).await;
    traced.rig = rig;
    traced.send("Added", "event-1", "", &[]);
    traced.rig.settled().await;
    assert_eq!(traced.rig.stats().ok, 1);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(10), traced.end()).await;
    assert!(ended.is_ok_and(|(spans, _)| spans.is_empty()), "the exporter stops in time");
}
