//! Rules between settings: defaults that depend on other settings, contradictions, and settings without effect.

use std::{collections::HashSet, net::IpAddr};

use super::{
    Config, Embedded, StoreUrl,
    otlp::PROTOCOL,
    report::{SettingProblem, Warning},
    source::readable_by_others,
};
use crate::model::is_loopback;

/// The settings that were set explicitly.
#[derive(Debug, Default)]
pub(super) struct Given(HashSet<&'static str>);

impl Given {
    pub(super) fn insert(&mut self, name: &'static str) {
        self.0.insert(name);
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// Fills in the defaults that depend on other settings.
pub(super) fn derive(config: &mut Config, given: &Given, under_cargo: bool) {
    if config.production {
        if !given.has("LOG_FORMAT") {
            config.log.json = true;
        }
        if !given.has("APP_PUBLIC_READS") {
            config.http.public_reads = false;
        }
        if config.kafka.embedded == Embedded::Auto {
            config.kafka.embedded = Embedded::Never;
        }
    }
    if !given.has("RUST_LOG") {
        config.log.filter.clone_from(&config.log.level);
    }
    if !given.has("APP_TRUSTED_HOSTS") {
        let host =
            if config.app.host.contains(':') { format!("[{}]", config.app.host) } else { config.app.host.clone() };
        // 0.0.0.0 and :: stand for every interface and are not host names; a browser that requests them has been misled.
        let host = host.to_ascii_lowercase();
        if !is_unspecified(&config.app.host) && !config.http.trusted_hosts.contains(&host) {
            config.http.trusted_hosts.push(host);
        }
    }
    config.app.reload = config.app.reload && !config.production && under_cargo;
}

pub(super) fn check(config: &Config, given: &Given, problems: &mut Vec<SettingProblem>, warnings: &mut Vec<Warning>) {
    check_topics(config, problems);
    check_embedded(config, problems);
    check_properties(config, problems);
    check_exposure(config, problems, warnings);
    check_tokens(config, problems, warnings);
    check_effects(config, given, warnings);
    check_otlp(config, given, warnings);
}

fn check_otlp(config: &Config, given: &Given, warnings: &mut Vec<Warning>) {
    let otlp = &config.otlp;
    if otlp.protocol != PROTOCOL {
        warnings.push(Warning::new(
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            format!("only {PROTOCOL} is supported; point the endpoint at the collector's HTTP port, 4318 by default"),
        ));
    }
    let silent = otlp.traces_url().is_none() && otlp.metrics_url().is_none();
    let endpoints =
        ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"];
    if silent && let Some(name) = endpoints.into_iter().find(|name| given.has(name)) {
        let cause = if otlp.disabled {
            "OTEL_SDK_DISABLED=True"
        } else {
            "this OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER"
        };
        warnings.push(Warning::new(name, format!("has no effect with {cause}")));
    }
}

fn check_topics(config: &Config, problems: &mut Vec<SettingProblem>) {
    let dlq = &config.kafka.dlq_topic;
    for topic in &config.kafka.topics {
        if topic.matches(dlq) {
            problems.push(SettingProblem::contradiction(format!(
                "KAFKA_TOPIC: `{topic}` matches the dead-letter topic {dlq}, so every dead letter would be consumed again; \
                 choose another KAFKA_DLQ_TOPIC or a narrower pattern"
            )));
        }
    }
}

fn check_embedded(config: &Config, problems: &mut Vec<SettingProblem>) {
    if config.kafka.embedded != Embedded::Always {
        return;
    }
    if config.production {
        problems.push(SettingProblem::contradiction(
            "KAFKA_EMBEDDED: `always` contradicts PRODUCTION_ENV=True: the embedded broker keeps events in memory only; \
             set it to never, or KAFKA_BROKER_URL to your brokers",
        ));
    }
    if !is_one_loopback_broker(&config.kafka.brokers) {
        problems.push(SettingProblem::contradiction(format!(
            "KAFKA_EMBEDDED: `always` needs one loopback address in KAFKA_BROKER_URL, which is `{}`; set it to \
             localhost:9092, or KAFKA_EMBEDDED to auto",
            config.kafka.brokers
        )));
    }
}

fn check_properties(config: &Config, problems: &mut Vec<SettingProblem>) {
    let property = |name: &str| {
        let kafka = &config.kafka;
        kafka.consumer_properties.get(name).or_else(|| kafka.properties.get(name)).map(super::Secret::expose)
    };
    let number = |name: &str, default: u64| property(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    // librdkafka's own defaults.
    let (session, poll) = (number("session.timeout.ms", 45_000), number("max.poll.interval.ms", 300_000));
    if poll < session {
        problems.push(SettingProblem::contradiction(format!(
            "KAFKA_MAX_POLL_INTERVAL_MS: {poll} is below KAFKA_SESSION_TIMEOUT_MS, {session}; raise it"
        )));
    }
    if property("group.protocol") == Some("consumer") {
        for name in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
            if property(name).is_some() {
                let variable = name.to_ascii_uppercase().replace('.', "_");
                problems.push(SettingProblem::contradiction(format!(
                    "KAFKA_{variable}: the broker decides on it with KAFKA_GROUP_PROTOCOL=consumer; remove one of the two"
                )));
            }
        }
    }
}

fn check_exposure(config: &Config, problems: &mut Vec<SettingProblem>, warnings: &mut Vec<Warning>) {
    let public = !is_loopback(&config.app.host);
    let any_host = !config.http.trusted_host || config.http.trusted_hosts.iter().any(|host| host == "*");
    if public && any_host {
        let text = format!(
            "any Host is accepted at {}, which other machines can reach; list the names in APP_TRUSTED_HOSTS",
            config.app.host
        );
        if config.production && config.http.trusted_host {
            problems.push(SettingProblem::contradiction(format!("APP_TRUSTED_HOSTS: {text}")));
        } else {
            let name = if config.http.trusted_host { "APP_TRUSTED_HOSTS" } else { "APP_MIDDLEWARE_TRUSTEDHOST" };
            warnings.push(Warning::new(name, text));
        }
    }
    let kafka = &config.kafka;
    for (name, value) in
        [("ssl.endpoint.identification.algorithm", "none"), ("enable.ssl.certificate.verification", "false")]
    {
        let maps = [&kafka.properties, &kafka.consumer_properties, &kafka.producer_properties];
        if maps.iter().any(|map| map.get(name).is_some_and(|set| set.expose() == value)) {
            warnings.push(Warning::new(
                &format!("KAFKA_{}", name.to_ascii_uppercase().replace('.', "_")),
                "any machine on the network path can pose as a broker; set KAFKA_SSL_CA_LOCATION to the authority instead",
            ));
        }
    }
    if config.http.cors && config.http.cors_origins.as_deref() == Some(&["*".to_owned()]) {
        warnings.push(Warning::new("APP_CORS_ORIGINS", "any page can read responses; list the origins that need to"));
    }
}

/// The least number of different characters of a token in production. A repeated word has fewer, a random token has more.
const DIFFERENT: usize = 6;

fn check_tokens(config: &Config, problems: &mut Vec<SettingProblem>, warnings: &mut Vec<Warning>) {
    let app = &config.app;
    for (name, token) in [("APP_ADMIN_TOKEN", &app.admin_token), ("APP_VIEWER_TOKEN", &app.viewer_token)] {
        let Some(token) = token else { continue };
        let different = token.expose().bytes().collect::<HashSet<u8>>().len();
        if config.production && different < DIFFERENT {
            problems.push(SettingProblem::contradiction(format!(
                "{name}: the token has fewer than {DIFFERENT} different characters, so it can be guessed; make a random one, \
                 for example with `openssl rand -hex 32`"
            )));
        }
        if !is_loopback(&app.host) && !config.http.https_redirect {
            warnings.push(Warning::new(
                name,
                format!(
                    "the token travels in plain text to {}; put TLS in front and set APP_MIDDLEWARE_HTTPSREDIRECT=True",
                    app.host
                ),
            ));
        }
    }
    if app.viewer_token.is_some() && app.viewer_token == app.admin_token {
        problems.push(SettingProblem::contradiction(
            "APP_VIEWER_TOKEN: it is the same as APP_ADMIN_TOKEN, so viewers could change everything; choose another one",
        ));
    }
}

fn check_effects(config: &Config, given: &Given, warnings: &mut Vec<Warning>) {
    let mut idle = |name: &str, text: &str| {
        if given.has(name) {
            warnings.push(Warning::new(name, text));
        }
    };
    if !config.http.cors {
        idle("APP_CORS_ORIGINS", "has no effect with APP_MIDDLEWARE_CORS=False");
    }
    if !config.http.gzip {
        idle("APP_GZIP_MINIMUM_SIZE", "has no effect with APP_MIDDLEWARE_GZIP=False");
    }
    if !config.http.trusted_host {
        idle("APP_TRUSTED_HOSTS", "has no effect with APP_MIDDLEWARE_TRUSTEDHOST=False");
    }
    if let StoreUrl::Sqlite(path) = &config.store
        && config.production
        && readable_by_others(path)
    {
        warnings.push(Warning::new("STORE_URL", format!("other users can read {}; chmod 600 it", path.display())));
    }
    if config.production && !config.store.is_durable() {
        warnings.push(Warning::new(
            "STORE_URL",
            "memory is lost on exit, and events are handled at least once; use sqlite://PATH",
        ));
    }
}

/// Warns if reload is set but has no effect; `wanted` is the value that was set.
pub(super) fn check_reload(config: &Config, given: &Given, wanted: bool, warnings: &mut Vec<Warning>) {
    if !given.has("APP_RELOAD") || !wanted || config.app.reload {
        return;
    }
    let text = if config.production {
        "has no effect with PRODUCTION_ENV=True: reload is for development"
    } else {
        "has no effect outside of `cargo run`, which rebuilds changed code"
    };
    warnings.push(Warning::new("APP_RELOAD", text));
}

fn is_unspecified(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

fn is_one_loopback_broker(brokers: &str) -> bool {
    !brokers.contains(',') && brokers.rsplit_once(':').is_some_and(|(host, _)| is_loopback(host))
}
