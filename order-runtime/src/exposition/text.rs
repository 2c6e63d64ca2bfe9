//! Metrics as text: OpenMetrics if the request asks for it, otherwise the older format of Prometheus. `prometheus-client`
//! writes both.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text},
    metrics::MetricType,
    registry::{self, Registry},
};

use super::family::{Family, Kind, Unit, Value};

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type and the text for an `Accept` header.
pub(crate) fn negotiated(families: Vec<Family>, accept: &str) -> (&'static str, String) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Read(families)));
    let mut out = String::new();
    let wants_open_metrics = accept.split(',').any(|media| {
        let name = media.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case("application/openmetrics-text")
    });
    // Writing to a string does not fail.
    if wants_open_metrics {
        let _ = text::encode(&mut out, &registry);
        (OPEN_METRICS, out)
    } else {
        let _ = prometheus_text::encode(&mut out, &registry);
        (prometheus_text::CONTENT_TYPE, out)
    }
}

#[derive(Debug)]
struct Read(Vec<Family>);

impl Collector for Read {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let unit = match family.unit {
                Unit::None => None,
                Unit::Seconds => Some(registry::Unit::Seconds),
                Unit::Bytes => Some(registry::Unit::Bytes),
            };
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let stem = family.stem();
            let mut metric = encoder.encode_descriptor(&stem, family.help, unit.as_ref(), kind)?;
            for sample in &family.samples {
                write(metric.encode_family(&sample.labels)?, family.kind, &sample.value)?;
            }
        }
        Ok(())
    }
}

fn write(mut metric: MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(count)) => metric.encode_counter::<NoLabelSet, _, f64>(count, None),
        (Kind::Counter, Value::Real(sum)) => metric.encode_counter::<NoLabelSet, _, f64>(sum, None),
        (_, Value::Whole(count)) => metric.encode_gauge(count),
        (_, Value::Real(level)) => metric.encode_gauge(level),
        (_, Value::Histogram(read)) => {
            let bounds = read.bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(read.counts.iter().copied()).collect();
            metric.encode_histogram::<NoLabelSet>(read.sum, read.count(), &buckets, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exposition::text::*;
    use crate::telemetry::metrics::histogram::Histogram;

    fn families() -> Vec<Family> {
        let waits = Histogram::new(&[0.1, 1.0]);
        waits.observe_many(0.5, 2);
        vec![
            Family::new("things.seen", Kind::Counter, "Things that were seen")
                .with(vec![("place", "a \"quoted\"\\\nplace".to_owned())], Value::Whole(3)),
            Family::new("things.wait", Kind::Histogram, "How long things wait")
                .in_unit(Unit::Seconds)
                .with(Vec::new(), Value::Histogram(waits.read())),
        ]
    }

    #[test]
    fn requests_without_a_preference_get_the_format_of_prometheus() {
        let (media, text) = negotiated(families(), "text/html, */*;q=0.5");
        assert_eq!(media, "text/plain; version=0.0.4; charset=utf-8");
        let expected = [
            "# HELP things_seen_total Things that were seen",
            "# TYPE things_seen_total counter",
            r#"things_seen_total{place="a \"quoted\"\\\nplace"} 3"#,
            "# HELP things_wait_seconds How long things wait",
            "# TYPE things_wait_seconds histogram",
            r#"things_wait_seconds_bucket{le="0.1"} 0"#,
            r#"things_wait_seconds_bucket{le="1"} 2"#,
            r#"things_wait_seconds_bucket{le="+Inf"} 2"#,
            "things_wait_seconds_sum 1.0",
            "things_wait_seconds_count 2",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn open_metrics_is_sent_on_request() {
        let (media, text) = negotiated(families(), "application/openmetrics-text;version=1.0.0,text/plain;q=0.3");
        assert_eq!(media, OPEN_METRICS);
        assert!(text.contains("# UNIT things_wait_seconds seconds\n"), "{text}");
        assert!(text.contains("things_seen_total{place=\"a \\\"quoted\\\"\\\\\\nplace\"} 3\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
