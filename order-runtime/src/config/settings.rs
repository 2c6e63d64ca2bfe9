//! The table of settings: the name, the default and the help text of each one, and how its text becomes part of [`Config`].
//!
//! Reading, the command `config`, `.env.example` and the hints for misspelt names are all derived from it.

use super::{
    Config, Embedded, OffsetReset, OnTruncation, Secret,
    otlp::OTLP,
    parse::{self, Expected},
};
use crate::model::TopicPattern;

/// One setting.
pub(super) struct Setting {
    /// The name of its variable.
    pub(super) name: &'static str,
    /// A second name, equal in rank.
    pub(super) alias: Option<&'static str>,
    pub(super) default: DefaultValue,
    /// The help text: one or two sentences.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the test that generates `.env.example` reads it"))]
    pub(super) help: &'static str,
    /// Whether its value is never printed.
    pub(super) secret: bool,
    /// Whether its value, or a part of it, is a secret, which may be read from the file that `NAME_FILE` names.
    pub(super) from_file: bool,
    /// Sets it from its text.
    pub(super) apply: fn(&mut Config, &str) -> Result<(), Expected>,
    /// Its effective value as text.
    pub(super) show: fn(&Config) -> String,
}

/// The default of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultValue {
    /// This text.
    Text(&'static str),
    /// A value that depends on other settings or on the machine, described in words.
    Derived(&'static str),
    /// No value.
    None,
}

/// Settings in the order in which they are shown, by section.
pub(super) const SECTIONS: &[(&str, &[Setting])] = &[
    ("Service", SERVICE),
    ("Kafka", KAFKA),
    ("Store", STORE),
    ("HTTP", HTTP),
    ("Logs", LOGS),
    ("Traces and metrics by OTLP", OTLP),
];

impl Setting {
    /// Whether its value is a secret or may contain one.
    pub(super) fn may_hold_secret(&self) -> bool {
        self.secret || self.from_file
    }

    /// Whether `variable` sets it, directly or by naming a file.
    pub(super) fn is_set_by(&self, variable: &str) -> bool {
        self.name == variable
            || self.alias == Some(variable)
            || (self.from_file && variable.strip_suffix("_FILE") == Some(self.name))
    }
}

/// Whether the variable is a setting of the service whose value is a secret or may contain one.
pub(super) fn may_hold_secret(variable: &str) -> bool {
    all().any(|setting| setting.may_hold_secret() && setting.is_set_by(variable))
}

pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|(_, settings)| settings.iter())
}

/// A setting of a plain kind, for struct update.
pub(super) const SETTING: Setting = Setting {
    name: "",
    alias: None,
    default: DefaultValue::None,
    help: "",
    secret: false,
    from_file: false,
    apply: |_, _| Ok(()),
    show: |_| String::new(),
};

const SERVICE: &[Setting] = &[
    Setting {
        name: "PRODUCTION_ENV",
        default: DefaultValue::Text("False"),
        help: "Production: no embedded broker, no reload, JSON logs, no admin access without a token.",
        apply: |config, text| set(&mut config.production, parse::boolean(text)),
        show: |config| show_bool(config.production),
        ..SETTING
    },
    Setting {
        name: "APP_NAME",
        default: DefaultValue::Text("Order Processing Service"),
        help: "The name that pages and documents show.",
        apply: |config, text| set(&mut config.app.name, parse::line(text)),
        show: |config| config.app.name.clone(),
        ..SETTING
    },
    Setting {
        name: "APP_HOST",
        default: DefaultValue::Text("127.0.0.1"),
        help: "The address that HTTP listens at; 0.0.0.0 for every interface.",
        apply: |config, text| set(&mut config.app.host, parse::host(text)),
        show: |config| config.app.host.clone(),
        ..SETTING
    },
    Setting {
        name: "APP_PORT",
        default: DefaultValue::Text("8000"),
        help: "The port that HTTP listens at; 0 lets the system choose one.",
        apply: |config, text| set(&mut config.app.port, parse::number(text, 0, u16::MAX)),
        show: |config| config.app.port.to_string(),
        ..SETTING
    },
    Setting {
        name: "APP_RELOAD",
        default: DefaultValue::Text("True"),
        help: "Under `cargo run` in development: rebuild and restart gracefully when a source file or .env changes.",
        apply: |config, text| set(&mut config.app.reload, parse::boolean(text)),
        show: |config| show_bool(config.app.reload),
        ..SETTING
    },
    Setting {
        name: "APP_WORKERS",
        default: DefaultValue::Derived("the number of cores"),
        help: "Threads that run processors.",
        apply: |config, text| set(&mut config.app.workers, parse::number(text, 1, 1024)),
        show: |config| config.app.workers.to_string(),
        ..SETTING
    },
    Setting {
        name: "APP_ADMIN_TOKEN",
        help: "Bearer token, at least 16 characters, for routes that change something or reveal payloads. Without it they answer loopback clients only, and only in development.",
        secret: true,
        from_file: true,
        apply: |config, text| {
            set(&mut config.app.admin_token, parse::token(text).map(|token| Some(Secret::new(token))))
        },
        show: |config| config.app.admin_token.as_ref().map_or_else(String::new, |_| "***".to_owned()),
        ..SETTING
    },
    Setting {
        name: "APP_VIEWER_TOKEN",
        help: "Bearer token, at least 16 characters, with the read access of APP_ADMIN_TOKEN and without write access.",
        secret: true,
        from_file: true,
        apply: |config, text| {
            set(&mut config.app.viewer_token, parse::token(text).map(|token| Some(Secret::new(token))))
        },
        show: |config| config.app.viewer_token.as_ref().map_or_else(String::new, |_| "***".to_owned()),
        ..SETTING
    },
    Setting {
        name: "APP_CONTRACTS",
        default: DefaultValue::Derived("the highest of each feature"),
        help: r#"The contract version of each feature, as JSON: {"Feature": 1}."#,
        apply: |config, text| set(&mut config.app.contracts, parse::contracts(text)),
        show: |config| serde_json::to_string(&config.app.contracts).unwrap_or_default(),
        ..SETTING
    },
    Setting {
        name: "APP_ON_TRUNCATION",
        default: DefaultValue::Text("stop"),
        help: "The behaviour of a partition whose log ends before its position: stop, or continue at the log's end.",
        apply: |config, text| set(&mut config.app.on_truncation, parse::on_truncation(text)),
        show: |config| match config.app.on_truncation {
            OnTruncation::Stop => "stop".to_owned(),
            OnTruncation::Continue => "continue".to_owned(),
        },
        ..SETTING
    },
    Setting {
        name: "APP_RETRY_MAX_ELAPSED",
        help: "An upper bound on every processor's retries, such as 2s.",
        apply: |config, text| set(&mut config.app.retry_max_elapsed, parse::duration(text).map(Some)),
        show: |config| {
            let bound = config.app.retry_max_elapsed.map(humantime::format_duration);
            bound.map_or_else(String::new, |bound| bound.to_string())
        },
        ..SETTING
    },
];

const KAFKA: &[Setting] = &[
    Setting {
        name: "KAFKA_BROKER_URL",
        alias: Some("KAFKA_BOOTSTRAP_SERVERS"),
        default: DefaultValue::Text("localhost:9092"),
        help: "Bootstrap brokers: host:port, separated by commas.",
        apply: |config, text| set(&mut config.kafka.brokers, parse::brokers(text)),
        show: |config| config.kafka.brokers.clone(),
        ..SETTING
    },
    Setting {
        name: "KAFKA_GROUP_ID",
        default: DefaultValue::Text("order-processing-group"),
        help: "The consumer group.",
        apply: |config, text| set(&mut config.kafka.group_id, parse::line(text)),
        show: |config| config.kafka.group_id.clone(),
        ..SETTING
    },
    Setting {
        name: "KAFKA_TOPIC",
        default: DefaultValue::Text(r#"["order-events"]"#),
        help: "Topics to consume, one or more; an entry that starts with ^ is a pattern.",
        apply: |config, text| set(&mut config.kafka.topics, parse::topics(text)),
        show: |config| show_list(&config.kafka.topics.iter().map(TopicPattern::as_str).collect::<Vec<_>>()),
        ..SETTING
    },
    Setting {
        name: "KAFKA_DLQ_TOPIC",
        default: DefaultValue::Text("orders-dlq"),
        help: "The dead-letter topic.",
        apply: |config, text| set(&mut config.kafka.dlq_topic, parse::topic(text)),
        show: |config| config.kafka.dlq_topic.clone(),
        ..SETTING
    },
    Setting {
        name: "KAFKA_DLQ_HEADERS",
        help: "Additional header formats of dead letters, for the tools of other frameworks: spring, connect.",
        apply: |config, text| set(&mut config.kafka.dlq_headers, parse::header_formats(text)),
        show: |config| {
            let names: Vec<&str> = config.kafka.dlq_headers.iter().map(|format| format.as_str()).collect();
            names.join(",")
        },
        ..SETTING
    },
    Setting {
        name: "KAFKA_AUTO_OFFSET_RESET",
        default: DefaultValue::Text("earliest"),
        help: "Where a group without any position begins: earliest, latest, or error.",
        apply: |config, text| set(&mut config.kafka.auto_offset_reset, parse::offset_reset(text)),
        show: |config| match config.kafka.auto_offset_reset {
            OffsetReset::Earliest => "earliest".to_owned(),
            OffsetReset::Latest => "latest".to_owned(),
            OffsetReset::Error => "error".to_owned(),
        },
        ..SETTING
    },
    Setting {
        name: "KAFKA_EMBEDDED",
        default: DefaultValue::Text("auto"),
        help: "The embedded broker, in memory, for development. auto: when nothing listens at a loopback KAFKA_BROKER_URL; always; never.",
        apply: |config, text| set(&mut config.kafka.embedded, parse::embedded(text)),
        show: |config| match config.kafka.embedded {
            Embedded::Auto => "auto".to_owned(),
            Embedded::Always => "always".to_owned(),
            Embedded::Never => "never".to_owned(),
        },
        ..SETTING
    },
];

const STORE: &[Setting] = &[
    Setting {
        name: "STORE_URL",
        default: DefaultValue::Text("sqlite://order-service.db"),
        help: "Where effects, positions and waiting events are kept: sqlite://PATH for one instance, postgres://USER:PASSWORD@HOST:PORT/DATABASE for several, or memory (at least once, lost on exit).",
        apply: |config, text| set(&mut config.store, parse::store(text)),
        show: |config| config.store.to_string(),
        from_file: true,
        ..SETTING
    },
    Setting {
        name: "STORE_RETENTION",
        default: DefaultValue::Text("30days"),
        help: "How long the ids of a key's events are kept after its last event, so that a repeated event is handled once. It must not be shorter than Kafka's retention of the events and dead letters.",
        apply: |config, text| set(&mut config.store_retention, parse::duration(text)),
        show: |config| humantime::format_duration(config.store_retention).to_string(),
        ..SETTING
    },
];

const HTTP: &[Setting] = &[
    Setting {
        name: "APP_MIDDLEWARE_CORS",
        default: DefaultValue::Text("True"),
        help: "Allow web pages of the origins in APP_CORS_ORIGINS to read responses.",
        apply: |config, text| set(&mut config.http.cors, parse::boolean(text)),
        show: |config| show_bool(config.http.cors),
        ..SETTING
    },
    Setting {
        name: "APP_CORS_ORIGINS",
        default: DefaultValue::Derived("the app's own origins; in development any loopback origin"),
        help: r#"Origins such as ["https://app.example.com"]."#,
        apply: |config, text| set(&mut config.http.cors_origins, parse::origins(text).map(Some)),
        show: |config| config.http.cors_origins.as_deref().map_or_else(String::new, show_list),
        ..SETTING
    },
    Setting {
        name: "APP_MIDDLEWARE_GZIP",
        default: DefaultValue::Text("False"),
        help: "Compress responses of at least APP_GZIP_MINIMUM_SIZE bytes.",
        apply: |config, text| set(&mut config.http.gzip, parse::boolean(text)),
        show: |config| show_bool(config.http.gzip),
        ..SETTING
    },
    Setting {
        name: "APP_GZIP_MINIMUM_SIZE",
        default: DefaultValue::Text("500"),
        help: "The size of the smallest response to compress, in bytes.",
        apply: |config, text| set(&mut config.http.gzip_minimum_size, parse::number(text, 0, u16::MAX)),
        show: |config| config.http.gzip_minimum_size.to_string(),
        ..SETTING
    },
    Setting {
        name: "APP_MIDDLEWARE_TRUSTEDHOST",
        default: DefaultValue::Text("True"),
        help: "Refuse requests whose Host is not among APP_TRUSTED_HOSTS.",
        apply: |config, text| set(&mut config.http.trusted_host, parse::boolean(text)),
        show: |config| show_bool(config.http.trusted_host),
        ..SETTING
    },
    Setting {
        name: "APP_TRUSTED_HOSTS",
        default: DefaultValue::Derived(r#"["localhost","127.0.0.1","[::1]"] and APP_HOST"#),
        help: "Trusted host names without ports; *.example.com stands for every name below example.com.",
        apply: |config, text| set(&mut config.http.trusted_hosts, parse::trusted_hosts(text)),
        show: |config| show_list(&config.http.trusted_hosts),
        ..SETTING
    },
    Setting {
        name: "APP_MIDDLEWARE_HTTPSREDIRECT",
        default: DefaultValue::Text("False"),
        help: "Answer plain HTTP with 307 to https; health and metrics are exempt.",
        apply: |config, text| set(&mut config.http.https_redirect, parse::boolean(text)),
        show: |config| show_bool(config.http.https_redirect),
        ..SETTING
    },
    Setting {
        name: "APP_PUBLIC_READS",
        default: DefaultValue::Derived("True; False in production"),
        help: "Allow every client that can connect to read entities, counters and the live page. False: only with APP_VIEWER_TOKEN or APP_ADMIN_TOKEN.",
        apply: |config, text| set(&mut config.http.public_reads, parse::boolean(text)),
        show: |config| show_bool(config.http.public_reads),
        ..SETTING
    },
];

const LOGS: &[Setting] = &[
    Setting {
        name: "LOG_LEVEL",
        default: DefaultValue::Text("info"),
        help: "off, error, warn, info, debug or trace.",
        apply: |config, text| set(&mut config.log.level, parse::level(text)),
        show: |config| config.log.level.clone(),
        ..SETTING
    },
    Setting {
        name: "RUST_LOG",
        help: "A filter by module, such as info,order_runtime=debug; overrides LOG_LEVEL.",
        apply: |config, text| set(&mut config.log.filter, parse::filter(text)),
        show: |config| if config.log.filter == config.log.level { String::new() } else { config.log.filter.clone() },
        ..SETTING
    },
    Setting {
        name: "LOG_FORMAT",
        default: DefaultValue::Derived("text; json in production"),
        help: "text, or json with one object a line.",
        apply: |config, text| set(&mut config.log.json, parse::log_format(text)),
        show: |config| if config.log.json { "json".to_owned() } else { "text".to_owned() },
        ..SETTING
    },
];

pub(super) fn set<T>(place: &mut T, parsed: Result<T, Expected>) -> Result<(), Expected> {
    *place = parsed?;
    Ok(())
}

pub(super) fn show_bool(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

fn show_list<T: serde::Serialize>(entries: &[T]) -> String {
    serde_json::to_string(entries).unwrap_or_default()
}
