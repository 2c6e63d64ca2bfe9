//! Settings: what they are, where they come from, what is wrong with them.

use std::{collections::BTreeMap, fmt, time::Duration};

/// All settings of the service, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `PRODUCTION_ENV`.
    pub production: bool,
    /// The service itself.
    pub app: AppConfig,
    /// Kafka.
    pub kafka: KafkaConfig,
    /// The store.
    pub store: StoreUrl,
    /// HTTP.
    pub http: HttpConfig,
    /// Logs.
    pub log: LogConfig,
}

/// Settings of the service itself.
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// `APP_NAME`.
    pub name: String,
    /// `APP_HOST`.
    pub host: String,
    /// `APP_PORT`.
    pub port: u16,
    /// `APP_RELOAD`; false in production.
    pub reload: bool,
    /// `APP_WORKERS`: threads that run processors.
    pub workers: usize,
    /// `APP_ADMIN_TOKEN`.
    pub admin_token: Option<Secret>,
    /// `APP_CONTRACTS`: feature to contract version.
    pub contracts: BTreeMap<String, u32>,
    /// `APP_ON_TRUNCATION`.
    pub on_truncation: OnTruncation,
    /// `APP_RETRY_MAX_ELAPSED`.
    pub retry_max_elapsed: Option<Duration>,
}

/// Settings of Kafka.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `KAFKA_BROKER_URL` or `KAFKA_BOOTSTRAP_SERVERS`: `host:port`, several with commas.
    pub brokers: String,
    /// `KAFKA_GROUP_ID`.
    pub group_id: String,
    /// `KAFKA_TOPIC`: names, or patterns that start with `^`.
    pub topics: Vec<String>,
    /// `KAFKA_DLQ_TOPIC`.
    pub dlq_topic: String,
    /// `KAFKA_AUTO_OFFSET_RESET`.
    pub auto_offset_reset: OffsetReset,
    /// `KAFKA_EMBEDDED`.
    pub embedded: Embedded,
    /// librdkafka properties for every client, by their own names; values may be secrets.
    pub properties: BTreeMap<String, Secret>,
    /// Further librdkafka properties for the consumer.
    pub consumer_properties: BTreeMap<String, Secret>,
    /// Further librdkafka properties for producers.
    pub producer_properties: BTreeMap<String, Secret>,
}

/// Where a group without any position begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// With the first record that the log has.
    Earliest,
    /// Behind the last one.
    Latest,
    /// Not at all: the partition stops.
    Error,
}

/// When the embedded development broker is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// In development, when nothing listens at a loopback broker address.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a partition does whose log ends before its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTruncation {
    /// It stops and says so.
    Stop,
    /// It goes on at the log's end.
    Continue,
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite://PATH`.
    Sqlite(std::path::PathBuf),
    /// `memory`.
    Memory,
}

/// Settings of HTTP.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, by its own variable")]
pub struct HttpConfig {
    /// `APP_MIDDLEWARE_CORS`.
    pub cors: bool,
    /// `APP_CORS_ORIGINS`; `None` for the default.
    pub cors_origins: Option<Vec<String>>,
    /// `APP_MIDDLEWARE_GZIP`.
    pub gzip: bool,
    /// `APP_GZIP_MINIMUM_SIZE` in bytes.
    pub gzip_minimum_size: u16,
    /// `APP_MIDDLEWARE_TRUSTEDHOST`.
    pub trusted_host: bool,
    /// `APP_TRUSTED_HOSTS`.
    pub trusted_hosts: Vec<String>,
    /// `APP_MIDDLEWARE_HTTPSREDIRECT`.
    pub https_redirect: bool,
}

/// Settings of logs.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// `LOG_LEVEL`, or `RUST_LOG` where it is set: a filter of tracing-subscriber.
    pub filter: String,
    /// `LOG_FORMAT` is `json`.
    pub json: bool,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` from being printed.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself; for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
