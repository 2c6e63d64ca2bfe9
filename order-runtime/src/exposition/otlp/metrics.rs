//! Metrics as OTLP messages: the same metrics that Prometheus reads, with dots in their names.
//!
//! Metrics of the process have other names in OpenTelemetry than in Prometheus, so they are renamed here.

use std::time::SystemTime;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric, number_data_point,
    },
    resource::v1,
};
use opentelemetry_sdk::Resource;

use super::Client;
use crate::exposition::{
    Sources,
    family::{Family, Kind, Sample, Unit, Value},
};

/// Counts are cumulative since the start of the process.
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Reads all metrics and sends them. Counts are cumulative, so a lost message costs only resolution.
pub(super) async fn export(client: &Client, resource: &Resource, started: SystemTime, sources: &Sources) {
    let request = request(sources.read(), resource, nanoseconds(started), nanoseconds(SystemTime::now()));
    // The client logs errors.
    let _ = client.post(&request).await;
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn request(families: Vec<Family>, resource: &Resource, start: u64, now: u64) -> ExportMetricsServiceRequest {
    let attributes = resource.iter().map(|(key, value)| attribute(key.as_str(), &value.as_str())).collect();
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let metrics = families.into_iter().map(|family| metric(family, start, now)).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(v1::Resource { attributes, ..v1::Resource::default() }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

fn metric(family: Family, start: u64, now: u64) -> Metric {
    let unit = match family.unit {
        Unit::None => "1",
        Unit::Seconds => "s",
        Unit::Bytes => "By",
    };
    let data = match family.kind {
        Kind::Counter => metric::Data::Sum(Sum {
            data_points: numbers(family.samples, start, now),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Kind::Gauge => metric::Data::Gauge(Gauge { data_points: numbers(family.samples, start, now) }),
        Kind::Histogram => metric::Data::Histogram(Histogram {
            data_points: family.samples.into_iter().filter_map(|sample| distribution(sample, start, now)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    Metric {
        name: conventional(family.name),
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

/// The name of <https://opentelemetry.io/docs/specs/semconv/system/process-metrics/> for a
/// metric that has another name in Prometheus.
fn conventional(name: String) -> String {
    match name.as_str() {
        "process.cpu" => "process.cpu.time".to_owned(),
        "process.resident.memory" => "process.memory.usage".to_owned(),
        "process.virtual.memory" => "process.memory.virtual".to_owned(),
        "process.open_fds" => "process.unix.file_descriptor.count".to_owned(),
        "process.threads" => "process.thread.count".to_owned(),
        _ => name,
    }
}

/// OTLP writes the labels of the conventions with dots.
fn attributes(sample: &Sample) -> Vec<KeyValue> {
    let name = |label: &str| match label {
        "messaging_system" => "messaging.system".to_owned(),
        "messaging_destination_name" => "messaging.destination.name".to_owned(),
        "messaging_consumer_group_name" => "messaging.consumer.group.name".to_owned(),
        "messaging_operation_name" => "messaging.operation.name".to_owned(),
        "error_type" => "error.type".to_owned(),
        other => other.to_owned(),
    };
    sample.labels.iter().map(|(label, value)| attribute(&name(label), value)).collect()
}

fn numbers(samples: Vec<Sample>, start: u64, now: u64) -> Vec<NumberDataPoint> {
    let point = |sample: Sample| {
        let value = match sample.value {
            Value::Whole(count) => number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
            Value::Real(level) => number_data_point::Value::AsDouble(level),
            Value::Histogram(_) => return None,
        };
        Some(NumberDataPoint {
            attributes: attributes(&sample),
            start_time_unix_nano: start,
            time_unix_nano: now,
            value: Some(value),
            ..NumberDataPoint::default()
        })
    };
    samples.into_iter().filter_map(point).collect()
}

fn distribution(sample: Sample, start: u64, now: u64) -> Option<HistogramDataPoint> {
    let attributes = attributes(&sample);
    let Value::Histogram(read) = sample.value else { return None };
    Some(HistogramDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: read.count(),
        sum: Some(read.sum),
        explicit_bounds: read.bounds.to_vec(),
        bucket_counts: read.counts,
        ..HistogramDataPoint::default()
    })
}

#[cfg(test)]
mod tests {
    use crate::exposition::otlp::metrics::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_has_the_names_of_the_conventions() {
        let names: Vec<String> =
            crate::exposition::process().into_iter().map(|family| conventional(family.name)).collect();
        assert_eq!(
            names,
            [
                "process.cpu.time",
                "process.memory.usage",
                "process.memory.virtual",
                "process.unix.file_descriptor.count",
                "process.thread.count",
                "process.start_time",
            ]
        );
    }

    #[test]
    fn a_counter_keeps_its_value_and_the_conventions_their_dots() {
        let family = Family::new("messaging.client.sent.messages", Kind::Counter, "Records sent").with(
            vec![("messaging_operation_name", "send".to_owned()), ("topic", "things".to_owned())],
            Value::Whole(7),
        );
        let request = request(vec![family], &Resource::builder_empty().with_service_name("things").build(), 1, 2);
        let written = &request.resource_metrics[0];
        let resource = written.resource.as_ref().expect("a resource");
        assert_eq!(resource.attributes, [attribute("service.name", "things")]);
        let metric = &written.scope_metrics[0].metrics[0];
        assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("messaging.client.sent.messages", "1"));
        let Some(metric::Data::Sum(sum)) = &metric.data else { panic!("a sum: {metric:?}") };
        assert_eq!((sum.is_monotonic, sum.aggregation_temporality), (true, CUMULATIVE));
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(number_data_point::Value::AsInt(7)));
        assert_eq!(point.attributes, [attribute("messaging.operation.name", "send"), attribute("topic", "things")]);
    }
}
