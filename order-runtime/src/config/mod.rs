//! Settings: their definitions, their sources, and their validation.

mod defaults;
#[cfg(test)]
mod env_example;
mod env_file;
mod kubernetes;
mod librdkafka;
mod otlp;
mod parse;
mod properties;
mod report;
mod rules;
mod secret;
mod settings;
mod source;
mod unknown;

use std::{collections::BTreeMap, thread::available_parallelism, time::Duration};

pub(crate) use defaults::Defaults;
#[cfg(test)]
use env_example::env_example;
pub(crate) use otlp::{OtlpConfig, TraceSampler};
pub(crate) use report::{ConfigErrors, SettingInForce, SettingProblem, Warning};
pub use secret::Secret;
use settings::{DefaultValue, Setting};
pub(crate) use source::{EnvFile, Flags, Origin};
use source::{Layers, Names};

use crate::model::TopicPattern;
pub(crate) use crate::{headers::HeaderFormat, store::StoreUrl};

/// All settings of the service, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `PRODUCTION_ENV`.
    pub(crate) production: bool,
    /// The service itself.
    pub(crate) app: AppConfig,
    /// Kafka.
    pub kafka: KafkaConfig,
    /// The store.
    pub(crate) store: StoreUrl,
    /// `STORE_RETENTION`.
    pub(crate) store_retention: Duration,
    /// HTTP.
    pub(crate) http: HttpConfig,
    /// Logs.
    pub(crate) log: LogConfig,
    /// Traces and metrics by OTLP.
    pub(crate) otlp: OtlpConfig,
    /// Every setting with its effective value and its origin.
    pub(crate) in_force: Vec<SettingInForce>,
}

impl Default for Config {
    /// The configuration if nothing is set, outside of `cargo run`.
    fn default() -> Self {
        let given = rules::Given::default();
        let mut config = Self::from_table();
        rules::derive(&mut config, &given, false);
        config
    }
}

impl Config {
    /// Reads the configuration of a service without a name, for tests.
    #[cfg(test)]
    pub(crate) fn load(
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
        env_file: &EnvFile,
    ) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        Self::load_over(&Defaults::default(), flags, environment, env_file)
    }

    /// Reads the configuration. `flags` override `environment`, which overrides the env file, which overrides the defaults.
    ///
    /// The process environment is neither read nor changed.
    ///
    /// # Errors
    /// All wrong values and contradictions together. The texts contain no secrets.
    pub(crate) fn load_over(
        defaults: &Defaults,
        flags: &Flags,
        environment: impl IntoIterator<Item = (String, String)>,
        env_file: &EnvFile,
    ) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let mut given = rules::Given::default();
        let mut sources = Vec::new();
        let names = Names {
            is_known: |name| is_setting(name) || properties::is_property(name),
            may_hold_secret: |name| settings::may_hold_secret(name) || properties::may_hold_secret(name),
        };
        let layers = Layers::read(defaults, flags, environment, env_file, names, &mut problems, &mut warnings);

        let mut config = Self::from_table();
        for setting in settings::all() {
            let source = config.read(setting, &layers, &mut problems, &mut warnings);
            if source.origin != Origin::Default {
                given.insert(setting.name);
            }
            sources.push(source);
        }
        let properties = properties::read(&layers, &mut config.kafka, &mut problems, &mut warnings);
        let reload_wanted = config.app.reload;
        rules::derive(&mut config, &given, layers.under_cargo());
        rules::check(&config, &given, &mut problems, &mut warnings);
        rules::check_reload(&config, &given, reload_wanted, &mut warnings);
        warnings.extend(unknown::warnings(&layers));
        if !problems.is_empty() {
            return Err(ConfigErrors(problems));
        }

        let in_force = settings::all().zip(sources).map(|(setting, source)| config.in_force(setting, source));
        config.in_force = in_force.chain(properties).collect();
        Ok((config, warnings))
    }

    /// Every setting at its default, before anything is derived.
    fn from_table() -> Self {
        let mut config = Self {
            production: false,
            app: AppConfig {
                name: String::new(),
                host: String::new(),
                port: 0,
                reload: false,
                workers: available_parallelism().map_or(1, std::num::NonZero::get),
                admin_token: None,
                viewer_token: None,
                contracts: BTreeMap::new(),
                on_truncation: OnTruncation::Stop,
                retry_max_elapsed: None,
            },
            kafka: KafkaConfig {
                brokers: String::new(),
                group_id: String::new(),
                topics: Vec::new(),
                dlq_topic: String::new(),
                dlq_headers: Vec::new(),
                auto_offset_reset: OffsetReset::Earliest,
                embedded: Embedded::Auto,
                properties: BTreeMap::new(),
                consumer_properties: BTreeMap::new(),
                producer_properties: BTreeMap::new(),
            },
            store: StoreUrl::Memory,
            store_retention: Duration::ZERO,
            http: HttpConfig {
                cors: false,
                cors_origins: None,
                gzip: false,
                gzip_minimum_size: 0,
                trusted_host: false,
                trusted_hosts: ["localhost", "127.0.0.1", "[::1]"].map(ToOwned::to_owned).to_vec(),
                https_redirect: false,
                public_reads: true,
            },
            log: LogConfig { level: String::new(), filter: String::new(), json: false },
            otlp: OtlpConfig::unset(),
            in_force: Vec::new(),
        };
        for setting in settings::all() {
            if let DefaultValue::Text(text) = setting.default {
                // A test applies every default text, so none is refused here.
                let _accepted = (setting.apply)(&mut config, text);
            }
        }
        config
    }

    /// Reads one setting and returns the source of its value.
    fn read(
        &mut self,
        setting: &Setting,
        layers: &Layers,
        problems: &mut Vec<SettingProblem>,
        warnings: &mut Vec<Warning>,
    ) -> Source {
        let mut names = vec![setting.name.to_owned()];
        names.extend(setting.alias.map(ToOwned::to_owned));
        if setting.from_file {
            names.push(format!("{}_FILE", setting.name));
        }
        let Some(raw) = layers.find(&names, problems, warnings) else { return Source::default() };
        // `NAME=` means "not set" for a setting that may have no value. For any other setting, the empty text is parsed.
        if raw.text.is_empty() && !matches!(setting.default, DefaultValue::Text(_)) {
            return Source::default();
        }
        let text = raw.text.expose();
        let bare = parse::unquoted(text);
        match (setting.apply)(self, text) {
            Ok(()) if bare.is_some() && raw.is_of_environment() => {
                warnings.push(Warning::new(&raw.name, QUOTES_KEPT));
            }
            Ok(()) => {}
            Err(_) if bare.is_some_and(|bare| (setting.apply)(self, bare).is_ok()) => {
                warnings.push(Warning::new(&raw.name, QUOTES_REMOVED));
            }
            Err(expected) => {
                let quoted = raw.quotable(setting.may_hold_secret());
                let cause = kubernetes::cause_of(&raw.name, text);
                problems.push(SettingProblem::wrong(&raw.name, quoted, &raw.origin, expected.0 + &cause));
            }
        }
        Source { origin: raw.origin, from_file: raw.from_file }
    }

    fn in_force(&self, setting: &Setting, Source { origin, from_file }: Source) -> SettingInForce {
        let value = Some((setting.show)(self)).filter(|value| !value.is_empty());
        // A value from a file of its own is treated as a secret.
        let value = if from_file { value.map(|_| "***".to_owned()) } else { value };
        let value = value.or(match setting.default {
            DefaultValue::Derived(words) => Some(format!("({words})")),
            DefaultValue::Text(_) | DefaultValue::None => None,
        });
        SettingInForce { name: setting.name.to_owned(), value, origin }
    }
}

const QUOTES_KEPT: &str = "the quotes around the value are a part of it; docker's --env-file keeps them: remove them if they are not intended";
const QUOTES_REMOVED: &str =
    "the quotes around the value were removed; docker's --env-file keeps them: write the value without quotes";

/// The source of one setting's value.
struct Source {
    origin: Origin,
    from_file: bool,
}

impl Default for Source {
    fn default() -> Self {
        Self { origin: Origin::Default, from_file: false }
    }
}

/// Whether the variable is one of the service's own settings.
fn is_setting(name: &str) -> bool {
    settings::all().any(|setting| setting.is_set_by(name))
}

/// Settings of the service itself.
#[derive(Debug, Clone)]
pub(crate) struct AppConfig {
    /// `APP_NAME`.
    pub(crate) name: String,
    /// `APP_HOST`.
    pub(crate) host: String,
    /// `APP_PORT`.
    pub(crate) port: u16,
    /// `APP_RELOAD`; false in production and outside of `cargo run`.
    pub(crate) reload: bool,
    /// `APP_WORKERS`: threads that run processors.
    pub(crate) workers: usize,
    /// `APP_ADMIN_TOKEN`.
    pub(crate) admin_token: Option<Secret>,
    /// `APP_VIEWER_TOKEN`.
    pub(crate) viewer_token: Option<Secret>,
    /// `APP_CONTRACTS`: feature to contract version.
    pub(crate) contracts: BTreeMap<String, u32>,
    /// `APP_ON_TRUNCATION`.
    pub(crate) on_truncation: OnTruncation,
    /// `APP_RETRY_MAX_ELAPSED`.
    pub(crate) retry_max_elapsed: Option<Duration>,
}

/// Settings of Kafka.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `KAFKA_BROKER_URL` or `KAFKA_BOOTSTRAP_SERVERS`: `host:port`, several with commas.
    pub brokers: String,
    /// `KAFKA_GROUP_ID`.
    pub(crate) group_id: String,
    /// `KAFKA_TOPIC`: names, or patterns that start with `^`.
    pub(crate) topics: Vec<TopicPattern>,
    /// `KAFKA_DLQ_TOPIC`.
    pub(crate) dlq_topic: String,
    /// `KAFKA_DLQ_HEADERS`.
    pub(crate) dlq_headers: Vec<HeaderFormat>,
    /// `KAFKA_AUTO_OFFSET_RESET`.
    pub(crate) auto_offset_reset: OffsetReset,
    /// `KAFKA_EMBEDDED`.
    pub(crate) embedded: Embedded,
    /// librdkafka properties for every client, by their own names; values may be secrets.
    pub(crate) properties: BTreeMap<String, Secret>,
    /// Further librdkafka properties for the consumer.
    pub(crate) consumer_properties: BTreeMap<String, Secret>,
    /// Further librdkafka properties for producers.
    pub producer_properties: BTreeMap<String, Secret>,
}

/// Where a group without any position begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OffsetReset {
    /// At the first record of the log.
    Earliest,
    /// After the last record of the log.
    Latest,
    /// Nowhere: the partition stops.
    Error,
}

/// When the embedded development broker is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Embedded {
    /// In development, when nothing listens at a loopback broker address.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The behaviour of a partition whose log ends before its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnTruncation {
    /// It stops and reports the truncation.
    Stop,
    /// It continues at the log's end.
    Continue,
}

/// Settings of HTTP.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, by its own variable")]
pub(crate) struct HttpConfig {
    /// `APP_MIDDLEWARE_CORS`.
    pub(crate) cors: bool,
    /// `APP_CORS_ORIGINS`; `None` for the default.
    pub(crate) cors_origins: Option<Vec<String>>,
    /// `APP_MIDDLEWARE_GZIP`.
    pub(crate) gzip: bool,
    /// `APP_GZIP_MINIMUM_SIZE` in bytes.
    pub(crate) gzip_minimum_size: u16,
    /// `APP_MIDDLEWARE_TRUSTEDHOST`.
    pub(crate) trusted_host: bool,
    /// `APP_TRUSTED_HOSTS`.
    pub(crate) trusted_hosts: Vec<String>,
    /// `APP_MIDDLEWARE_HTTPSREDIRECT`.
    pub(crate) https_redirect: bool,
    /// `APP_PUBLIC_READS`.
    pub(crate) public_reads: bool,
}

/// Settings of logs.
#[derive(Debug, Clone)]
pub(crate) struct LogConfig {
    /// `LOG_LEVEL`.
    pub(crate) level: String,
    /// `LOG_LEVEL`, or `RUST_LOG` if it is set: a filter of tracing-subscriber.
    pub(crate) filter: String,
    /// `LOG_FORMAT` is `json`.
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests;
