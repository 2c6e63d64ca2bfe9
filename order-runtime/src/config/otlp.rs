//! Settings of traces and metrics by OTLP, by the names that OpenTelemetry gives them
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use std::time::Duration;

use super::{
    Secret,
    parse::{self, Expected},
    settings::{DefaultValue, SETTING, Setting, set},
};

/// Settings of OTLP.
#[derive(Debug, Clone)]
pub(crate) struct OtlpConfig {
    /// `OTEL_SDK_DISABLED`: nothing is exported.
    pub(crate) disabled: bool,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, without a trailing slash: for traces and metrics without an endpoint of their own.
    pub(crate) endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: the whole URL for traces.
    pub(crate) traces_endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`: the whole URL for metrics.
    pub(crate) metrics_endpoint: Option<String>,
    /// `OTEL_TRACES_EXPORTER` is `otlp`, not `none`.
    pub(crate) traces: bool,
    /// `OTEL_METRICS_EXPORTER` is `otlp`, not `none`.
    pub(crate) metrics: bool,
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`, as it was set. Only `http/protobuf` is supported.
    pub(crate) protocol: String,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: names and values.
    pub(crate) headers: Vec<(String, Secret)>,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`.
    pub(crate) timeout: Duration,
    /// `OTEL_SERVICE_NAME`.
    pub(crate) service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`: names and values.
    pub(crate) resource_attributes: Vec<(String, String)>,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub(crate) sampler: TraceSampler,
    /// `OTEL_TRACES_SAMPLER_ARG`: the share of the samplers with a ratio, from 0 to 1.
    pub(crate) sampler_ratio: f64,
    /// `OTEL_METRIC_EXPORT_INTERVAL`.
    pub(crate) metric_interval: Duration,
}

/// Which traces are exported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum TraceSampler {
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
    /// This share of all.
    Ratio(f64),
    /// The decision of the parent, if there is one; otherwise all traces.
    ParentBasedAlwaysOn,
    /// The decision of the parent, if there is one; otherwise none.
    ParentBasedAlwaysOff,
    /// The decision of the parent, if there is one; otherwise this share.
    ParentBasedRatio(f64),
}

impl TraceSampler {
    const NAMES: [(&'static str, Self); 6] = [
        ("always_on", Self::AlwaysOn),
        ("always_off", Self::AlwaysOff),
        ("traceidratio", Self::Ratio(1.0)),
        ("parentbased_always_on", Self::ParentBasedAlwaysOn),
        ("parentbased_always_off", Self::ParentBasedAlwaysOff),
        ("parentbased_traceidratio", Self::ParentBasedRatio(1.0)),
    ];

    fn parse(text: &str) -> Result<Self, Expected> {
        let named = Self::NAMES.into_iter().find(|(name, _)| *name == text.trim());
        let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
        named.map(|(_, sampler)| sampler).ok_or_else(|| Expected(format!("one of {}", names.join(", "))))
    }

    fn name(self) -> &'static str {
        let same = |other: &Self| std::mem::discriminant(other) == std::mem::discriminant(&self);
        Self::NAMES.iter().find(|(_, sampler)| same(sampler)).map_or("", |(name, _)| name)
    }

    /// The same sampler with this share.
    fn with_ratio(self, ratio: f64) -> Self {
        match self {
            Self::Ratio(_) => Self::Ratio(ratio),
            Self::ParentBasedRatio(_) => Self::ParentBasedRatio(ratio),
            other => other,
        }
    }
}

impl OtlpConfig {
    /// The URL that traces are sent to; `None` if they are not sent.
    pub(crate) fn traces_url(&self) -> Option<String> {
        self.url(self.traces, self.traces_endpoint.as_ref(), "/v1/traces")
    }

    /// The URL that metrics are sent to; `None` if they are not sent.
    pub(crate) fn metrics_url(&self) -> Option<String> {
        self.url(self.metrics, self.metrics_endpoint.as_ref(), "/v1/metrics")
    }

    fn url(&self, wanted: bool, own: Option<&String>, path: &str) -> Option<String> {
        let shared = || self.endpoint.as_ref().map(|endpoint| format!("{endpoint}{path}"));
        own.cloned().or_else(shared).filter(|_| wanted && !self.disabled)
    }

    /// The settings before anything is set.
    pub(super) fn unset() -> Self {
        Self {
            disabled: false,
            endpoint: None,
            traces_endpoint: None,
            metrics_endpoint: None,
            traces: true,
            metrics: true,
            protocol: String::new(),
            headers: Vec::new(),
            timeout: Duration::ZERO,
            service_name: None,
            resource_attributes: Vec::new(),
            sampler: TraceSampler::ParentBasedAlwaysOn,
            sampler_ratio: 1.0,
            metric_interval: Duration::ZERO,
        }
    }
}

/// The only supported protocol.
pub(super) const PROTOCOL: &str = "http/protobuf";

pub(super) const OTLP: &[Setting] = &[
    Setting {
        name: "OTEL_SDK_DISABLED",
        default: DefaultValue::Text("False"),
        help: "Send no traces and no metrics, whatever else is set.",
        apply: |config, text| set(&mut config.otlp.disabled, parse::boolean(text)),
        show: |config| super::settings::show_bool(config.otlp.disabled),
        ..SETTING
    },
    Setting {
        name: "OTEL_EXPORTER_OTLP_ENDPOINT",
        help: "The OTLP endpoint for traces and metrics, such as http://localhost:4318: protobuf over plain HTTP, to a collector beside the service. Without it, nothing is sent.",
        apply: |config, text| set(&mut config.otlp.endpoint, endpoint(text).map(Some)),
        show: |config| config.otlp.endpoint.clone().unwrap_or_default(),
        ..SETTING
    },
    Setting {
        name: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        help: "The whole URL for traces, such as http://localhost:4318/v1/traces, if they have another endpoint.",
        apply: |config, text| set(&mut config.otlp.traces_endpoint, url(text).map(Some)),
        show: |config| config.otlp.traces_endpoint.clone().unwrap_or_default(),
        ..SETTING
    },
    Setting {
        name: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        help: "The whole URL for metrics, such as http://localhost:4318/v1/metrics, if they have another endpoint.",
        apply: |config, text| set(&mut config.otlp.metrics_endpoint, url(text).map(Some)),
        show: |config| config.otlp.metrics_endpoint.clone().unwrap_or_default(),
        ..SETTING
    },
    Setting {
        name: "OTEL_TRACES_EXPORTER",
        default: DefaultValue::Text("otlp"),
        help: "otlp, or none to send no traces.",
        apply: |config, text| set(&mut config.otlp.traces, exporter(text)),
        show: |config| exporter_name(config.otlp.traces),
        ..SETTING
    },
    Setting {
        name: "OTEL_METRICS_EXPORTER",
        default: DefaultValue::Text("otlp"),
        help: "otlp, or none to send no metrics; GET /metrics is not affected.",
        apply: |config, text| set(&mut config.otlp.metrics, exporter(text)),
        show: |config| exporter_name(config.otlp.metrics),
        ..SETTING
    },
    Setting {
        name: "OTEL_EXPORTER_OTLP_PROTOCOL",
        default: DefaultValue::Text(PROTOCOL),
        help: "Only http/protobuf is supported; another value draws a warning.",
        apply: |config, text| set(&mut config.otlp.protocol, parse::line(text)),
        show: |config| config.otlp.protocol.clone(),
        ..SETTING
    },
    Setting {
        name: "OTEL_EXPORTER_OTLP_HEADERS",
        help: "Headers of the export requests: name=value, separated by commas.",
        secret: true,
        from_file: true,
        apply: |config, text| {
            let headers = pairs(text, |name| axum::http::HeaderName::try_from(name).is_ok());
            let secret = |(name, value)| (name, Secret::new(value));
            set(&mut config.otlp.headers, headers.map(|headers| headers.into_iter().map(secret).collect()))
        },
        show: |config| if config.otlp.headers.is_empty() { String::new() } else { "***".to_owned() },
        ..SETTING
    },
    Setting {
        name: "OTEL_EXPORTER_OTLP_TIMEOUT",
        default: DefaultValue::Text("10000"),
        help: "How long the collector may take to answer, in milliseconds.",
        apply: |config, text| set(&mut config.otlp.timeout, milliseconds(text)),
        show: |config| config.otlp.timeout.as_millis().to_string(),
        ..SETTING
    },
    Setting {
        name: "OTEL_SERVICE_NAME",
        default: DefaultValue::Derived("the name of the program"),
        help: "The name under which traces and metrics are sent.",
        apply: |config, text| set(&mut config.otlp.service_name, parse::line(text).map(Some)),
        show: |config| config.otlp.service_name.clone().unwrap_or_default(),
        ..SETTING
    },
    Setting {
        name: "OTEL_RESOURCE_ATTRIBUTES",
        help: "Resource attributes of traces and metrics: name=value, separated by commas, such as deployment.environment.name=staging.",
        apply: |config, text| set(&mut config.otlp.resource_attributes, pairs(text, |name| !name.is_empty())),
        show: |config| {
            let pairs: Vec<String> =
                config.otlp.resource_attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            pairs.join(",")
        },
        ..SETTING
    },
    Setting {
        name: "OTEL_TRACES_SAMPLER",
        default: DefaultValue::Text("parentbased_always_on"),
        help: "Which traces are sent: always_on, always_off, traceidratio, or one of these with the prefix parentbased_, which follows the decision of the parent.",
        apply: |config, text| {
            let ratio = config.otlp.sampler_ratio;
            set(&mut config.otlp.sampler, TraceSampler::parse(text).map(|sampler| sampler.with_ratio(ratio)))
        },
        show: |config| config.otlp.sampler.name().to_owned(),
        ..SETTING
    },
    Setting {
        name: "OTEL_TRACES_SAMPLER_ARG",
        default: DefaultValue::Text("1.0"),
        help: "The share of traces that traceidratio sends, from 0 to 1.",
        apply: |config, text| {
            let ratio = text.trim().parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
            let ratio = ratio.ok_or_else(|| Expected("a number from 0 to 1".to_owned()))?;
            config.otlp.sampler_ratio = ratio;
            config.otlp.sampler = config.otlp.sampler.with_ratio(ratio);
            Ok(())
        },
        show: |config| format!("{:?}", config.otlp.sampler_ratio),
        ..SETTING
    },
    Setting {
        name: "OTEL_METRIC_EXPORT_INTERVAL",
        default: DefaultValue::Text("60000"),
        help: "The interval between exports of metrics, in milliseconds.",
        apply: |config, text| set(&mut config.otlp.metric_interval, milliseconds(text)),
        show: |config| config.otlp.metric_interval.as_millis().to_string(),
        ..SETTING
    },
];

fn endpoint(text: &str) -> Result<String, Expected> {
    url(text).map(|url| url.trim_end_matches('/').to_owned())
}

fn url(text: &str) -> Result<String, Expected> {
    const FORM: &str = "a URL such as http://localhost:4318";
    let expected = |cure: &str| Err(Expected(format!("{FORM}; {cure}")));
    let text = text.trim();
    let uri: Option<axum::http::Uri> = text.parse().ok();
    let Some(uri) = uri.filter(|uri| uri.authority().is_some()) else { return Err(Expected(FORM.to_owned())) };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return expected("without user and password: put the collector's credentials into OTEL_EXPORTER_OTLP_HEADERS");
    }
    if uri.query().is_some() {
        return expected("without parameters");
    }
    match uri.scheme_str() {
        Some("http") => Ok(text.to_owned()),
        _ => expected("for https, run a collector beside the service that forwards the data"),
    }
}

fn exporter(text: &str) -> Result<bool, Expected> {
    match text.trim().to_ascii_lowercase().as_str() {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err(Expected("otlp or none; GET /metrics serves Prometheus in any case".to_owned())),
    }
}

fn exporter_name(wanted: bool) -> String {
    if wanted { "otlp" } else { "none" }.to_owned()
}

fn milliseconds(text: &str) -> Result<Duration, Expected> {
    parse::number(text.trim(), 1, 86_400_000_u64).map(Duration::from_millis)
}

/// `name=value,name=value`.
fn pairs(text: &str, is_name: fn(&str) -> bool) -> Result<Vec<(String, String)>, Expected> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        (is_name(name) && value.chars().all(|letter| !letter.is_control())).then(|| (name.to_owned(), value.to_owned()))
    };
    let pairs: Option<Vec<_>> = text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect();
    pairs.ok_or_else(|| Expected("name=value, separated by commas".to_owned()))
}
