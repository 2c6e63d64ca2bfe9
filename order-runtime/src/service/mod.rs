//! The whole service: starts broker, store, engine and HTTP in order, and stops them in order.

mod stop;
pub(crate) mod supervised;
mod watch;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub(crate) use self::stop::Stop;
use crate::{
    broker::{
        Consumer,
        embedded::{self, EmbeddedBroker},
        kafka::{self, KafkaConsumer, KafkaPublisher, drain_limit},
    },
    config::{Config, KafkaConfig},
    dead_letters::KafkaSource,
    dispatcher::Dispatcher,
    engine::{self, EngineEnd, EngineHandle, Parts, Settings, SystemClock},
    exposition::{Sources, otlp::Otlp},
    http::{self, HttpParts},
    registry::Registry,
    store::Mode,
    telemetry::{ObservedPublisher, logs, metrics::Metrics},
};

/// How long the outbox may take to publish its records when the service stops; the store keeps the rest.
const OUTBOX: Duration = Duration::from_secs(3);
/// How long librdkafka may take to leave its group; it takes longer only if no broker answers.
const LEAVE: Duration = Duration::from_secs(5);

/// Why the service did not start, or stopped. The text gives the remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// The address cannot be bound.
    #[error(
        "HTTP cannot listen at {address}: {reason}; set APP_HOST and APP_PORT, or stop the program that listens there"
    )]
    Listen {
        /// The address.
        address: String,
        /// The system's error.
        reason: String,
    },
    /// The embedded broker failed to start.
    #[error("{0}")]
    Embedded(String),
    /// The store failed to open or refused the consumer group.
    #[error("{}: {error}", url)]
    Store {
        /// Which store.
        url: String,
        /// The store's error.
        error: crate::store::StoreError,
    },
    /// The Kafka client failed to start.
    #[error(transparent)]
    Broker(#[from] crate::broker::BrokerError),
    /// The system refused a thread, signals or an address.
    #[error("the system refuses {what}: {reason}")]
    System {
        /// The refused resource or action.
        what: &'static str,
        /// The system's error.
        reason: String,
    },
    /// The exporter of traces failed to start.
    #[error("{0}; check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS")]
    Export(String),
    /// The engine stopped with an error.
    #[error("{0}")]
    EngineEnd(String),
}

/// Runs the service until it is asked to stop, and then until all work under way is done.
///
/// # Errors
/// If a part cannot start, or the consumer cannot continue.
pub(crate) async fn serve(
    dispatcher: Dispatcher,
    mut config: Config,
    registry: Arc<Registry>,
) -> Result<(), ServeError> {
    let stop =
        Stop::listen().map_err(|error| ServeError::System { what: "signal handlers", reason: error.to_string() })?;
    let listener = listen(&config)?;
    let broker = embedded::start_where_wanted(&mut config.kafka).await.map_err(ServeError::Embedded)?;
    let not_opened = |error| ServeError::Store { url: config.store.to_string(), error };
    let store = config.store.open(&dispatcher.entities, Mode::Run).await.map_err(not_opened)?;
    let store_id = store.claim(&config.kafka.group_id).await.map_err(not_opened)?;
    let publisher = KafkaPublisher::new(&config.kafka)?;
    let metrics = Metrics::new(registry.processors().len());
    let mut otlp = Otlp::start(&config.otlp, &dispatcher, &config.kafka.group_id).map_err(ServeError::Export)?;
    let tracer = otlp.as_ref().and_then(Otlp::tracer);
    let observed = ObservedPublisher::new(publisher.clone(), Arc::clone(&metrics), tracer.clone());
    let (consumer, events) = KafkaConsumer::start(&config.kafka)?;
    let engine = engine::start(Parts {
        registry: Arc::clone(&registry),
        store: Arc::clone(&store),
        store_id,
        consumer: Arc::clone(&consumer) as Arc<dyn Consumer>,
        metadata: Some(Arc::clone(&consumer) as _),
        events,
        publisher: Arc::clone(&observed) as _,
        entities: dispatcher.entities.clone(),
        settings: settings(&config, &dispatcher),
        clock: Arc::new(SystemClock),
        metrics: Arc::clone(&metrics),
        tracer,
    });
    let sources = Sources {
        name: dispatcher.name,
        version: dispatcher.version,
        group: config.kafka.group_id.clone(),
        registry: Arc::clone(&registry),
        metrics,
        operations: engine.operations(),
    };
    if let Some(otlp) = &mut otlp {
        otlp.export_metrics(sources.clone());
    }

    let address = listener.local_addr().map_err(|error| refused("the address of HTTP", error))?;
    let http = HttpThread::start(
        listener,
        HttpParts {
            config: config.clone(),
            dispatcher: dispatcher.clone(),
            registry: Arc::clone(&registry),
            store: Arc::clone(&store),
            operations: engine.operations(),
            publisher: observed,
            letters: KafkaSource::new(&config.kafka),
            sources,
            embedded_broker: broker.is_some(),
        },
    )?;
    announce(&dispatcher, &config, &registry, address, broker.as_ref());
    if let Some(watch) = dispatcher.on_start {
        let operations = engine.operations();
        watch(Arc::new(move || operations.stats()));
    }
    if broker.is_none() {
        tokio::spawn(warn_of_topics(config.kafka.clone(), config.store_retention));
    }

    let result = run(engine, &consumer, &publisher, stop, drain_limit(&config.kafka), &http).await;
    http.end();
    if let Some(otlp) = otlp {
        otlp.end().await;
    }
    store.close().await;
    if !store.durable() {
        // The memory is freed with the process; dropping millions of rows one by one would take seconds.
        std::mem::forget(store);
    }
    if result.is_ok() {
        info!("stopped; everything under way is done");
    }
    result
}

/// The engine's settings, from the configuration.
pub(crate) fn settings(config: &Config, dispatcher: &Dispatcher) -> Settings {
    Settings {
        group: config.kafka.group_id.clone(),
        topics: config.kafka.topics.clone(),
        dlq_topic: config.kafka.dlq_topic.as_str().into(),
        dlq_headers: config.kafka.dlq_headers.clone(),
        service_version: dispatcher.version,
        reset: config.kafka.auto_offset_reset,
        on_truncation: config.app.on_truncation,
        retry_max_elapsed: config.app.retry_max_elapsed,
        drain: drain_limit(&config.kafka),
        retention: config.store_retention,
        shadow: false,
    }
}

/// Waits until the service is asked to stop or the engine ends, then stops the engine and the consumer.
async fn run(
    mut engine: EngineHandle,
    consumer: &KafkaConsumer,
    publisher: &KafkaPublisher,
    mut stop: Stop,
    drain: Duration,
    http: &HttpThread,
) -> Result<(), ServeError> {
    let ended = tokio::select! {
        ended = engine.ended() => Some(ended),
        reason = stop.asked() => {
            info!(reason, "stopping: batches under way are finished; a second signal aborts");
            None
        }
    };
    tokio::spawn(stop.abort_on_next());
    http.end_watch();
    engine.leave();
    let ended = match ended {
        Some(ended) => unasked(ended),
        // The callback that revokes the partitions waits for the drain.
        None => tokio::time::timeout(drain + LEAVE, engine.ended()).await.unwrap_or_else(|_| {
            warn!("partitions were not released in time; the store knows their events, so these count once");
            EngineEnd::Drained
        }),
    };
    engine.publish_rest(OUTBOX).await;
    publisher.flush(OUTBOX).await;
    if !consumer.joined(LEAVE).await {
        warn!("the Kafka client did not stop, because its broker does not answer; it ends with the process");
    }
    match ended {
        EngineEnd::Drained => Ok(()),
        EngineEnd::Fatal(reason) => Err(ServeError::EngineEnd(reason)),
    }
}

/// Turns an end without a stop request into an error, so that a supervisor restarts the service. The poll thread may have
/// panicked, for example.
fn unasked(ended: EngineEnd) -> EngineEnd {
    match ended {
        EngineEnd::Drained => EngineEnd::Fatal("the Kafka consumer has ended without being asked to".to_owned()),
        fatal @ EngineEnd::Fatal(_) => fatal,
    }
}

/// Logs a warning for each topic whose settings contradict the guarantees of the service.
async fn warn_of_topics(config: KafkaConfig, ids: Duration) {
    match kafka::outlasting(&config, ids).await {
        Ok(reasons) => reasons.iter().for_each(|reason| warn!("{reason}")),
        Err(error) => debug!(%error, "the retention of the topics is unknown"),
    }
    match kafka::compacted(&config).await {
        Ok(reason) => reason.iter().for_each(|reason| warn!("{reason}")),
        Err(error) => debug!(%error, "the cleanup policy of the dead-letter topic is unknown"),
    }
}

fn refused(what: &'static str, error: impl ToString) -> ServeError {
    ServeError::System { what, reason: error.to_string() }
}

/// Binds the address before anything else starts, so that an accidental second instance fails here.
fn listen(config: &Config) -> Result<TcpListener, ServeError> {
    let address = (config.app.host.as_str(), config.app.port);
    TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener)).map_err(|error| {
        ServeError::Listen { address: format!("{}:{}", address.0, address.1), reason: error.to_string() }
    })
}

/// HTTP on a thread and a runtime of its own, so that responses and processors do not wait for each other.
struct HttpThread {
    ended: CancellationToken,
    /// Ends the progress watch before HTTP, because a service that stops must not be logged as stuck.
    unwatched: CancellationToken,
    thread: JoinHandle<()>,
}

impl HttpThread {
    fn start(listener: TcpListener, parts: HttpParts) -> Result<Self, ServeError> {
        let ended = CancellationToken::new();
        let unwatched = ended.child_token();
        let (until, watched_until) = (ended.clone(), unwatched.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("http-blocking")
            .build()
            .map_err(|error| refused("a thread for HTTP", error))?;
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let watch = watch::log_changes(Arc::clone(&parts.operations));
                    tokio::spawn(watched_until.run_until_cancelled_owned(watch));
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => {
                            let metrics = Arc::clone(&parts.sources.metrics);
                            http::serve(listener, http::router(parts), metrics, until).await;
                        }
                        Err(error) => error!(%error, "HTTP cannot listen"),
                    }
                });
            })
            .map_err(|error| refused("a thread for HTTP", error))?;
        Ok(Self { ended, unwatched, thread })
    }

    /// Stops the logging of standstills.
    fn end_watch(&self) {
        self.unwatched.cancel();
    }

    fn end(self) {
        self.ended.cancel();
        if self.thread.join().is_err() {
            error!("the HTTP thread has panicked");
        }
    }
}

/// Logs and prints the addresses of the service, and a command to try.
fn announce(
    dispatcher: &Dispatcher,
    config: &Config,
    registry: &Registry,
    address: SocketAddr,
    broker: Option<&EmbeddedBroker>,
) {
    let page = format!("http://{address}/");
    let api = format!("{page}{}", dispatcher.name);
    let events: Vec<&str> = registry.processors().iter().map(|entry| entry.event).collect();
    let embedded = broker.is_some() || std::env::var_os(crate::service::supervised::EMBEDDED).is_some();
    info!(version = dispatcher.version, ?events, store = %config.store, brokers = config.kafka.brokers, page, api, "started");
    if embedded {
        warn!(
            brokers = config.kafka.brokers,
            "the broker is the embedded one, for development: in memory, so its events are lost on exit"
        );
    }
    if config.log.json || config.production || crate::service::supervised::is_restarted() {
        return;
    }
    // Printed without the form of a log line, because a new user reads it first.
    let broker = if embedded { " (embedded: in memory, gone on exit)" } else { "" };
    let this = if std::env::var_os("CARGO").is_some() {
        format!("cargo run -p {} --", dispatcher.package)
    } else {
        dispatcher.package.to_owned()
    };
    let lines = [
        String::new(),
        format!("  {} {}", config.app.name, dispatcher.version),
        format!("    page    {page}"),
        format!("    API     {api}"),
        format!("    broker  {}{broker}", config.kafka.brokers),
        format!("    store   {}", config.store),
        match dispatcher.sample {
            Some(_) => format!("    try     {this} publish --sample 100"),
            None => format!("    try     {this} processors"),
        },
        String::new(),
    ];
    logs::write(&(lines.join("\n") + "\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_stop_request_is_an_error() {
        assert!(
            matches!(unasked(EngineEnd::Drained), EngineEnd::Fatal(reason) if reason.contains("without being asked"))
        );
        assert_eq!(unasked(EngineEnd::Fatal("fenced".to_owned())), EngineEnd::Fatal("fenced".to_owned()));
    }
}
