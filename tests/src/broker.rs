//! The embedded broker and Apache Kafka, on which the scenarios run.

use std::{
    env,
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};

use crate::{
    binary::order_service,
    deployment::without_own_settings,
    kafka::Kafka,
    postgres::Postgres,
    process::{Process, free_port},
    wait::{PATIENCE, eventually},
};

/// A variable with the suites that must run, separated by commas. Their tests fail instead of being skipped if a requirement is
/// missing.
const REQUIRE: &str = "ORDER_TESTS_REQUIRE";

/// Prints that a suite is skipped, and its missing requirement.
///
/// # Panics
/// If the suite must run.
pub fn skip(suite: &str, needs: &str) {
    let is_required = env::var(REQUIRE).unwrap_or_default().split(',').any(|required| required.trim() == suite);
    assert!(!is_required, "{needs}, and {REQUIRE} names {suite}");
    eprintln!("skipped: {needs}");
}

/// A broker, and the store of the deployments on it. The broker is stopped with its last clone.
#[derive(Clone)]
pub struct Broker {
    kind: Kind,
    /// The server with a database for each deployment; `None` for SQLite files.
    pub(crate) postgres: Option<&'static Postgres>,
}

#[derive(Clone)]
enum Kind {
    Embedded(Arc<Embedded>),
    Kafka(&'static Kafka),
}

/// `order-service broker` as a separate process, so that it survives the services that a test kills.
struct Embedded {
    address: String,
    _process: Process,
}

impl Broker {
    /// Starts the service's embedded broker; a new one for each call.
    pub async fn embedded() -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(order_service());
        without_own_settings(&mut command).arg("broker").env("KAFKA_BROKER_URL", &address).env("APP_RELOAD", "false");
        command.current_dir(env::temp_dir());
        let mut process = Process::spawn("order-service broker", &mut command);
        let socket: SocketAddr = address.parse().expect("the address is valid");
        eventually("the embedded broker listens", PATIENCE, async || {
            assert!(process.ended().is_none(), "the embedded broker ended");
            TcpStream::connect_timeout(&socket, Duration::from_millis(200)).is_ok()
        })
        .await;
        Self { kind: Kind::Embedded(Arc::new(Embedded { address, _process: process })), postgres: None }
    }

    /// A real Apache Kafka, shared by the tests of this program.
    ///
    /// If java or mvn is missing, prints that to standard error and returns `None`, or panics if `ORDER_TESTS_REQUIRE` names
    /// `kafka`.
    pub fn kafka() -> Option<Self> {
        Kafka::shared().map(|kafka| Self { kind: Kind::Kafka(kafka), postgres: None })
    }

    /// A separate Apache Kafka that the test may kill, and that services reach through a proxy.
    pub fn fragile(kafka: &'static Kafka) -> Self {
        Self { kind: Kind::Kafka(kafka), postgres: None }
    }

    /// The same broker, with deployments that use PostgreSQL as their store.
    #[must_use]
    pub fn with_postgres(self, server: &'static Postgres) -> Self {
        Self { postgres: Some(server), ..self }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        match &self.kind {
            Kind::Embedded(embedded) => &embedded.address,
            Kind::Kafka(kafka) => kafka.address(),
        }
    }

    /// The address of the listener that requires authentication; `None` for the embedded broker.
    pub fn guarded_address(&self) -> Option<String> {
        match &self.kind {
            Kind::Embedded(_) => None,
            Kind::Kafka(kafka) => Some(kafka.guarded_address()),
        }
    }

    /// The address for services: that of the proxy, if there is one.
    pub(crate) fn service_address(&self) -> &str {
        match &self.kind {
            Kind::Embedded(embedded) => &embedded.address,
            Kind::Kafka(kafka) => kafka.service_address(),
        }
    }

    /// Whether the broker is durable. The embedded broker keeps 5 MB per partition, and loses everything when it stops.
    pub fn is_durable(&self) -> bool {
        matches!(self.kind, Kind::Kafka(_))
    }

    /// Whether deployments on it use PostgreSQL.
    pub fn is_on_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// Settings for services on this broker.
    pub(crate) fn settings(&self) -> &'static [(&'static str, &'static str)] {
        match self.kind {
            // In a classic group, a restarted member waits for a whole session timeout.
            Kind::Embedded(_) => &[("KAFKA_CONSUMER_GROUP_PROTOCOL", "consumer")],
            // The time for which a killed member keeps its partitions.
            Kind::Kafka(_) => &[("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "6000")],
        }
    }

    /// Creates a topic for events and one for dead letters, which no other test uses.
    pub(crate) async fn topics(&self, partitions: i32) -> (String, String) {
        match self.kind {
            // This broker is not shared, and creates a topic with four partitions on the first request for it.
            Kind::Embedded(_) => ("order-events".into(), "orders-dlq".into()),
            Kind::Kafka(_) => {
                let number = unique();
                let topics = (format!("order-events-{number}"), format!("orders-dlq-{number}"));
                self.create(&[(&topics.0, partitions), (&topics.1, 2)]).await;
                topics
            }
        }
    }

    async fn create(&self, topics: &[(&str, i32)]) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.address()).create().expect("an admin client");
        let wanted: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|(name, partitions)| NewTopic::new(name, *partitions, TopicReplication::Fixed(1)))
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for made in admin.create_topics(&wanted, &options).await.expect("the broker answers") {
            made.unwrap_or_else(|(topic, error)| panic!("cannot create the topic {topic}: {error}"));
        }
    }
}

/// A number that is unique in this program.
pub(crate) fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
