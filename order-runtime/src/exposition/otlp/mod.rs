//! Traces and metrics by OTLP, to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names.
//!
//! Protobuf over plain HTTP: the collector runs beside the service and is responsible for TLS. Data that cannot be exported is
//! dropped; nothing waits for it.

mod client;
mod metrics;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, Sampler, SpanProcessor as _},
};
use tokio::task::JoinHandle;
use tracing::warn;
use uuid::Uuid;

use self::client::Client;
use super::Sources;
use crate::{
    config::{OtlpConfig, TraceSampler},
    dispatcher::Dispatcher,
    trace::Tracer,
};

/// How long the last export may take when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// A running export.
pub(crate) struct Otlp {
    tracer: Option<Arc<Tracer>>,
    /// Sends metrics; `None` if no metrics are exported.
    client: Option<Client>,
    config: OtlpConfig,
    resource: Resource,
    started: SystemTime,
    exporting: Option<(JoinHandle<()>, Client, Sources)>,
}

impl Otlp {
    /// Starts exporting traces if there is an endpoint for them. It must be called on a runtime, which then sends the data.
    /// `None` if neither traces nor metrics are exported.
    ///
    /// # Errors
    /// If the exporter refuses the configuration.
    pub(crate) fn start(config: &OtlpConfig, dispatcher: &Dispatcher, group: &str) -> Result<Option<Self>, String> {
        let client = config.metrics_url().map(|url| Client::new(config, url));
        let traces = config.traces_url();
        if client.is_none() && traces.is_none() {
            return Ok(None);
        }
        let resource = resource(config, dispatcher);
        let tracer = traces.map(|url| {
            let mut processor = BatchSpanProcessor::builder(exporter(config, &url)?).build();
            processor.set_resource(&resource);
            Ok::<_, String>(Arc::new(Tracer::new(dispatcher.name, group, sampler(config.sampler), processor)))
        });
        let (tracer, started) = (tracer.transpose()?, SystemTime::now());
        Ok(Some(Self { tracer, client, config: config.clone(), resource, started, exporting: None }))
    }

    /// The tracer of events; `None` if no traces are exported.
    pub(crate) fn tracer(&self) -> Option<Arc<Tracer>> {
        self.tracer.clone()
    }

    /// Starts exporting metrics, if there is an endpoint for them.
    pub(crate) fn export_metrics(&mut self, sources: Sources) {
        let Some(client) = &self.client else { return };
        let (sending, resource, started) = (client.clone(), self.resource.clone(), self.started);
        let (interval, from) = (self.config.metric_interval, sources.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                metrics::export(&sending, &resource, started, &from).await;
            }
        });
        self.exporting = Some((task, client.clone(), sources));
    }

    /// Exports the remaining metrics and traces, each for at most [`FLUSH`].
    pub(crate) async fn end(self) {
        if let Some((task, client, sources)) = self.exporting {
            task.abort();
            let last = metrics::export(&client, &self.resource, self.started, &sources);
            // The client logs why it failed.
            let _ = tokio::time::timeout(FLUSH, last).await;
        }
        let Some(tracer) = self.tracer else { return };
        // The exporter's thread needs this runtime to send, so the wait must not block one of its threads.
        let flushed = tokio::task::spawn_blocking(move || tracer.shutdown(FLUSH)).await;
        if !matches!(flushed, Ok(true)) {
            warn!("not every span was exported in time; the rest is dropped");
        }
    }
}

fn exporter(config: &OtlpConfig, url: &str) -> Result<SpanExporter, String> {
    let headers: HashMap<String, String> =
        config.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    SpanExporter::builder()
        .with_http()
        .with_http_client(Client::new(config, url.to_owned()))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .with_timeout(config.timeout)
        .with_headers(headers)
        .build()
        .map_err(|error| format!("traces cannot be exported to {url}: {error}"))
}

/// The origin of all exported data.
fn resource(config: &OtlpConfig, dispatcher: &Dispatcher) -> Resource {
    let given = config.resource_attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let named = |name: &str| config.resource_attributes.iter().any(|(known, _)| known == name);
    let mut builder = Resource::builder_empty();
    if !named("service.version") {
        builder = builder.with_attribute(KeyValue::new("service.version", dispatcher.version));
    }
    // Otherwise two instances of a service would write into one stream of metrics.
    if !named("service.instance.id") {
        builder = builder.with_attribute(KeyValue::new("service.instance.id", Uuid::new_v4().to_string()));
    }
    if !named("service.name") || config.service_name.is_some() {
        let name = config.service_name.clone().unwrap_or_else(|| dispatcher.package.to_owned());
        return builder.with_attributes(given).with_service_name(name).build();
    }
    builder.with_attributes(given).build()
}

fn sampler(choice: TraceSampler) -> Sampler {
    let parent_based = |root| Sampler::ParentBased(Box::new(root));
    match choice {
        TraceSampler::AlwaysOn => Sampler::AlwaysOn,
        TraceSampler::AlwaysOff => Sampler::AlwaysOff,
        TraceSampler::Ratio(share) => Sampler::TraceIdRatioBased(share),
        TraceSampler::ParentBasedAlwaysOn => parent_based(Sampler::AlwaysOn),
        TraceSampler::ParentBasedAlwaysOff => parent_based(Sampler::AlwaysOff),
        TraceSampler::ParentBasedRatio(share) => parent_based(Sampler::TraceIdRatioBased(share)),
    }
}
