//! Traces and metrics by OTLP, to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names.
//!
//! Protobuf over plain HTTP: a collector stands beside the service, and TLS is its affair. What cannot be exported is
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

use self::client::Client;
use super::{metrics::Sources, trace::Tracer};
use crate::{
    Dispatcher,
    config::{OtlpConfig, TraceSampler},
};

/// How long the rest may take to leave when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// A running export.
pub(crate) struct Otlp {
    pub(crate) tracer: Arc<Tracer>,
    client: Client,
    config: OtlpConfig,
    resource: Resource,
    started: SystemTime,
    exporting: Option<(JoinHandle<()>, Sources)>,
}

impl Otlp {
    /// Starts exporting traces where an endpoint is set; called on a runtime, which sends what is exported.
    ///
    /// # Errors
    /// What the exporter does not like about the configuration.
    pub(crate) fn start(config: &OtlpConfig, dispatcher: &Dispatcher, group: &str) -> Result<Option<Self>, String> {
        let Some(endpoint) = &config.endpoint else { return Ok(None) };
        let client = Client::new(config);
        let headers: HashMap<String, String> =
            config.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(config.timeout)
            .with_headers(headers)
            .build()
            .map_err(|error| format!("traces cannot be exported to {endpoint}: {error}"))?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        let resource = resource(config, dispatcher);
        processor.set_resource(&resource);
        let tracer = Arc::new(Tracer::new(dispatcher.name, group, sampler(config.sampler), processor));
        let started = SystemTime::now();
        Ok(Some(Self { tracer, client, config: config.clone(), resource, started, exporting: None }))
    }

    /// Exports metrics from now on, too.
    pub(crate) fn export_metrics(&mut self, sources: Sources) {
        let (client, resource, started) = (self.client.clone(), self.resource.clone(), self.started);
        let (interval, from) = (self.config.metric_interval, sources.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                metrics::export(&client, &resource, started, &from).await;
            }
        });
        self.exporting = Some((task, sources));
    }

    /// Exports the rest, for a short time.
    pub(crate) async fn end(self) {
        if let Some((task, sources)) = self.exporting {
            task.abort();
            let last = metrics::export(&self.client, &self.resource, self.started, &sources);
            // The client has told why it did not.
            let _ = tokio::time::timeout(FLUSH, last).await;
        }
        let tracer = self.tracer;
        // The exporter's thread needs this runtime to send; so the wait must not hold one of its threads.
        let flushed = tokio::task::spawn_blocking(move || tracer.shutdown(FLUSH)).await;
        if !matches!(flushed, Ok(true)) {
            warn!("not every span was exported in time; the rest is dropped");
        }
    }
}

/// What all that is exported says of its origin.
fn resource(config: &OtlpConfig, dispatcher: &Dispatcher) -> Resource {
    let given = config.resource_attributes.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let named = |name: &str| config.resource_attributes.iter().any(|(known, _)| known == name);
    let mut builder = Resource::builder_empty();
    if !named("service.version") {
        builder = builder.with_attribute(KeyValue::new("service.version", dispatcher.version));
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
