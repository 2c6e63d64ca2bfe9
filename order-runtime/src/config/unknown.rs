//! Warnings about names that look like settings but are not.

use super::{Origin, Warning, is_setting, kubernetes, properties, settings, source::Layers};

/// The prefixes of the service's own settings. A name with one of them is meant for the service, wherever it is set.
const OURS: [&str; 3] = ["APP_", "KAFKA_", "STORE_"];
/// The prefixes of settings that the service shares with other programs. A name with one of them draws a warning only if it is
/// similar to a setting.
const SHARED: [&str; 2] = ["OTEL_", "LOG_"];
/// Names of OpenTelemetry that resemble settings without being misspelt.
const OPEN_TELEMETRY: [&str; 6] = [
    "OTEL_LOGS_EXPORTER",
    "OTEL_LOG_LEVEL",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_METRIC_EXPORT_TIMEOUT",
    "OTEL_PROPAGATORS",
    "OTEL_SERVICE_VERSION",
];

/// Warns of every unknown name, with the nearest known one.
pub(super) fn warnings(layers: &Layers) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    for layer in &layers.layers {
        let from_environment = layer.origin == Origin::Environment;
        for name in layer.texts.keys() {
            if is_setting(name)
                || properties::is_property(name)
                || warnings.iter().any(|warning| warning.name == *name)
                || (from_environment && kubernetes::is_service_link(name, &layer.texts))
            {
                continue;
            }
            if let Some(text) = about(name, &layer.origin, from_environment) {
                warnings.push(Warning::new(name, text));
            }
        }
    }
    warnings
}

fn about(name: &str, origin: &Origin, from_environment: bool) -> Option<String> {
    let has_one = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let ours = has_one(&OURS);
    // Other programs share the environment; an env file is for the service alone.
    if from_environment && !ours && !has_one(&SHARED) {
        return None;
    }
    if name.starts_with("OTEL_EXPORTER_OTLP_") && nearest(name).is_none_or(|(similarity, _)| similarity < 0.9) {
        return Some(format!("has no effect on this service ({origin}); it exports by protobuf over plain HTTP"));
    }
    // Other programs choose their own names, so a name must be more similar to a setting.
    let near = if ours || !from_environment { 0.7 } else { 0.8 };
    match nearest(name) {
        Some((similarity, known)) if similarity >= near && !OPEN_TELEMETRY.contains(&name) => {
            Some(format!("is not a setting ({origin}); did you mean {known}?"))
        }
        _ if ours => Some(format!("is not a setting ({origin}); see `config` or .env.example for those that are")),
        _ => None,
    }
}

fn nearest(name: &str) -> Option<(f64, String)> {
    let own = settings::all().flat_map(|setting| [Some(setting.name), setting.alias]).flatten().map(ToOwned::to_owned);
    own.chain(properties::variables().filter(|_| name.starts_with("KAFKA_")))
        .map(|known| (strsim::normalized_damerau_levenshtein(name, &known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
}
