//! An OTLP collector inside the test.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::any_value::Value,
    trace::v1::Span,
};
use prost::Message as _;

/// Collects traces and metrics until the test ends.
#[derive(Debug)]
pub struct Collector {
    endpoint: String,
    bodies: Bodies,
}

/// The received traces and metrics.
type Bodies = Arc<Mutex<(Vec<Bytes>, Vec<Bytes>)>>;

impl Collector {
    /// Starts listening on a free port.
    pub async fn start() -> Self {
        let bodies = Bodies::default();
        let router = Router::new()
            .route(
                "/v1/traces",
                post(|State(bodies): State<Bodies>, body: Bytes| async move { held(&bodies).0.push(body) }),
            )
            .route(
                "/v1/metrics",
                post(|State(bodies): State<Bodies>, body: Bytes| async move { held(&bodies).1.push(body) }),
            )
            .with_state(Arc::clone(&bodies));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, bodies }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All received spans of the trace with this hexadecimal id, sorted by start time.
    pub fn spans(&self, trace: &str) -> Vec<Span> {
        let decode = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).expect("spans by OTLP");
        let requests: Vec<_> = held(&self.bodies).0.iter().map(decode).collect();
        let of_resources = requests.into_iter().flat_map(|request| request.resource_spans);
        let mut spans: Vec<Span> =
            of_resources.flat_map(|of_resource| of_resource.scope_spans).flat_map(|scope| scope.spans).collect();
        let trace = u128::from_str_radix(trace, 16).expect("32 hexadecimal digits").to_be_bytes();
        spans.retain(|span| span.trace_id == trace);
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }

    /// The names of all received metrics.
    pub fn metrics(&self) -> Vec<String> {
        let decode = |body: &Bytes| ExportMetricsServiceRequest::decode(body.clone()).expect("metrics by OTLP");
        let requests: Vec<_> = held(&self.bodies).1.iter().map(decode).collect();
        let scopes = requests.into_iter().flat_map(|request| request.resource_metrics).flat_map(|of| of.scope_metrics);
        scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name).collect()
    }
}

/// The text of a span's attribute.
pub fn attribute(span: &Span, name: &str) -> Option<String> {
    let value = span.attributes.iter().find(|pair| pair.key == name)?.value.as_ref()?.value.as_ref()?;
    match value {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn held(bodies: &Bodies) -> std::sync::MutexGuard<'_, (Vec<Bytes>, Vec<Bytes>)> {
    bodies.lock().expect("the lock is not poisoned")
}
