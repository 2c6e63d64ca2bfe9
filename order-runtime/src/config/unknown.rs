//! Names that look like settings and are none.

use super::{Origin, Warning, is_setting, kubernetes, properties, settings, source::Layers};

/// The prefixes of our own settings: a name with one of them is meant for us, wherever it stands.
const OURS: [&str; 3] = ["APP_", "KAFKA_", "STORE_"];
/// The prefixes of settings that we share with others: a name with one of them is told where it is nearly one of ours.
const SHARED: [&str; 2] = ["OTEL_", "LOG_"];
/// Names of OpenTelemetry that are no misspelt ones, although they resemble some.
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
    // The environment is everybody's, an env file is for us.
    if from_environment && !ours && !has_one(&SHARED) {
        return None;
    }
    if name.starts_with("OTEL_EXPORTER_OTLP_") && nearest(name).is_none_or(|(similarity, _)| similarity < 0.9) {
        return Some(format!("has no effect on this service ({origin}); it exports by protobuf over plain HTTP"));
    }
    // Others may name their variables as they like, so theirs must be nearer to one of ours.
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
