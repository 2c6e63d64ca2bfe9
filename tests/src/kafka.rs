//! A real Apache Kafka, started by the script in `tests/kafka`.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Instant,
};

use tokio::sync::{Mutex, MutexGuard};

use crate::{
    broker::skip,
    process::{free_port, runs},
    proxy::Proxy,
};

/// A running broker; dropping it stops and deletes the broker.
pub struct Kafka {
    address: String,
    way_in: Option<WayIn>,
    /// The port of the listener that requires authentication.
    sasl: u16,
    alone: Mutex<()>,
    /// The script deletes its broker when its standard input closes, so even if this program crashes.
    _keeps_it_running: Child,
}

/// A second listener, which clients reach only through a proxy.
struct WayIn {
    proxy: Proxy,
    address: String,
    /// The script's variable `KAFKA_PROXIED`.
    ports: String,
}

impl Kafka {
    /// The broker that all tests of this program share; `None` as for [`start`](Self::start).
    pub(crate) fn shared() -> Option<&'static Self> {
        static KAFKA: OnceLock<Option<Kafka>> = OnceLock::new();
        KAFKA.get_or_init(|| available().then(|| launch(None))).as_ref()
    }

    /// A second broker of this program, which tests may kill, and which services reach through a proxy.
    ///
    /// If java or mvn is missing, prints that to standard error and returns `None`, or panics if `ORDER_TESTS_REQUIRE` names
    /// `kafka`.
    pub fn fragile() -> Option<&'static Self> {
        static KAFKA: OnceLock<Option<Kafka>> = OnceLock::new();
        let start = || {
            let listen = free_port();
            let proxy = Proxy::start(&format!("127.0.0.1:{listen}"));
            let ports = format!("{listen}:{}", proxy.port());
            launch(Some(WayIn { address: format!("127.0.0.1:{}", proxy.port()), proxy, ports }))
        };
        KAFKA.get_or_init(|| available().then(start)).as_ref()
    }

    /// Waits for exclusive use of the broker.
    pub async fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().await
    }

    /// `host:port`, without a proxy.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn service_address(&self) -> &str {
        self.way_in.as_ref().map_or(&self.address, |way_in| &way_in.address)
    }

    /// The proxy for services; panics for the shared broker, which has none.
    pub fn proxy(&self) -> &Proxy {
        &self.way_in.as_ref().expect("only the fragile broker has a proxy").proxy
    }

    /// `host:port` of the listener that requires SASL/PLAIN; `tests/kafka/kafka` has the users.
    pub(crate) fn guarded_address(&self) -> String {
        format!("127.0.0.1:{}", self.sasl)
    }

    /// Runs a command of the script on the broker: `kill`, `start`, `pause`, `cont`.
    pub async fn control(&self, verb: &str) {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        let mut command = tokio::process::Command::from(script(self.way_in.as_ref()));
        let status = command.args([verb, port]).stdin(Stdio::null()).stdout(Stdio::null()).status().await;
        let status = status.expect("bash runs tests/kafka/kafka");
        assert!(status.success(), "kafka {verb} {port}: {status}");
    }
}

fn available() -> bool {
    let available = runs("java", "-version") && runs("mvn", "-version");
    if !available {
        skip("kafka", "java (17+) and mvn are needed");
    }
    available
}

fn script(way_in: Option<&WayIn>) -> Command {
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/kafka");
    let mut command = Command::new(script);
    // A misspelt topic name fails a test at once, instead of creating a topic.
    command.env("KAFKA_PROPS", "auto.create.topics.enable=false");
    if let Some(way_in) = way_in {
        command.env("KAFKA_PROXIED", &way_in.ports);
    }
    command
}

fn launch(way_in: Option<WayIn>) -> Kafka {
    let start = Instant::now();
    let sasl = free_port();
    let mut child = script(way_in.as_ref())
        .env("KAFKA_SASL", sasl.to_string())
        .args(["serve", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash runs tests/kafka/kafka");
    let stdout = child.stdout.take().expect("the stream is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("the script writes text");
    // "up: pid 4711, 127.0.0.1:29092"
    let address = line.trim().rsplit(' ').next().filter(|address| address.contains(':')).map(str::to_owned);
    let address = address.unwrap_or_else(|| panic!("Kafka does not start; see the script's output above: {line:?}"));
    eprintln!("kafka: {address}, up after {:.1?}", start.elapsed());
    Kafka { address, way_in, sasl, alone: Mutex::default(), _keeps_it_running: child }
}
