//! The two brokers that the scenarios run on.

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

/// The suites that must run, separated by commas: a missing requirement then fails the test instead of skipping it.
const REQUIRE: &str = "ORDER_TESTS_REQUIRE";

/// Says that a suite is skipped, and what it needs.
///
/// # Panics
/// The suite must run.
pub fn skip(suite: &str, needs: &str) {
    let is_required = env::var(REQUIRE).unwrap_or_default().split(',').any(|required| required.trim() == suite);
    assert!(!is_required, "{needs}, and {REQUIRE} names {suite}");
    eprintln!("skipped: {needs}");
}

/// A broker that lives as long as somebody holds a clone of it, and the store that deployments on it use.
#[derive(Clone)]
pub struct Broker {
    kind: Kind,
    /// A database of this server for each deployment; else an SQLite file.
    pub(crate) postgres: Option<&'static Postgres>,
}

#[derive(Clone)]
enum Kind {
    Embedded(Arc<Embedded>),
    Kafka(&'static Kafka),
}

/// `order-service broker` as a process of its own, so that it survives the services that a test kills.
struct Embedded {
    address: String,
    _process: Process,
}

impl Broker {
    /// The service's own development broker, one for each call.
    pub async fn embedded() -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(order_service());
        without_own_settings(&mut command).arg("broker").env("KAFKA_BROKER_URL", &address).env("APP_RELOAD", "false");
        command.current_dir(env::temp_dir());
        let mut process = Process::spawn("order-service broker", &mut command);
        let socket: SocketAddr = address.parse().expect("an address of our own making");
        eventually("the embedded broker listens", PATIENCE, async || {
            assert!(process.ended().is_none(), "the embedded broker ended");
            TcpStream::connect_timeout(&socket, Duration::from_millis(200)).is_ok()
        })
        .await;
        Self { kind: Kind::Embedded(Arc::new(Embedded { address, _process: process })), postgres: None }
    }

    /// A real Apache Kafka, shared by the tests of this program.
    ///
    /// `None`, with a word on standard error, where java or mvn is missing, unless `ORDER_TESTS_REQUIRE` names `kafka`.
    pub fn kafka() -> Option<Self> {
        Kafka::shared().map(|kafka| Self { kind: Kind::Kafka(kafka), postgres: None })
    }

    /// Another one, which its user may kill, and whose services reach it through a proxy.
    pub fn fragile(kafka: &'static Kafka) -> Self {
        Self { kind: Kind::Kafka(kafka), postgres: None }
    }

    /// The same broker for deployments that keep everything in PostgreSQL.
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

    /// Where the same real broker asks who comes; the embedded one never does.
    pub fn guarded_address(&self) -> Option<String> {
        match &self.kind {
            Kind::Embedded(_) => None,
            Kind::Kafka(kafka) => Some(kafka.guarded_address()),
        }
    }

    /// Where a service finds it: the proxy where there is one.
    pub(crate) fn service_address(&self) -> &str {
        match &self.kind {
            Kind::Embedded(embedded) => &embedded.address,
            Kind::Kafka(kafka) => kafka.service_address(),
        }
    }

    /// Whether it proves guarantees: the embedded broker keeps 5 MB a partition and forgets all when it ends.
    pub fn is_durable(&self) -> bool {
        matches!(self.kind, Kind::Kafka(_))
    }

    /// Whether deployments on it keep everything in PostgreSQL.
    pub fn is_on_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// What a service needs to know to work well with it.
    pub(crate) fn settings(&self) -> &'static [(&'static str, &'static str)] {
        match self.kind {
            // Its classic groups take a whole session timeout to let a restarted member in.
            Kind::Embedded(_) => &[("KAFKA_CONSUMER_GROUP_PROTOCOL", "consumer")],
            // A killed member keeps its partitions for that long.
            Kind::Kafka(_) => &[("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "6000")],
        }
    }

    /// A topic for events and one for dead letters, which no other test uses.
    pub(crate) async fn topics(&self, partitions: i32) -> (String, String) {
        match self.kind {
            // Nobody shares this broker, and it makes a topic, with four partitions, when a client asks for it.
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
            made.unwrap_or_else(|(topic, error)| panic!("the topic {topic} cannot be made: {error}"));
        }
    }
}

/// A number that no other test of this program gets.
pub(crate) fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
