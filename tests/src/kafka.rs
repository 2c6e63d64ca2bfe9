//! A real Apache Kafka, by the script in `tests/kafka`.

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

/// A running broker; it ends and is wiped with its owner.
pub struct Kafka {
    address: String,
    way_in: Option<WayIn>,
    /// The port of the listener that asks who comes.
    sasl: u16,
    alone: Mutex<()>,
    /// The script wipes its broker when its standard input closes, which happens however this program ends.
    _keeps_it_running: Child,
}

/// A second listener that clients reach through a proxy only.
struct WayIn {
    proxy: Proxy,
    address: String,
    /// `KAFKA_PROXIED` of the script.
    ports: String,
}

impl Kafka {
    /// The one of this program; `None` as [`start`](Self::start) says.
    pub(crate) fn shared() -> Option<&'static Self> {
        static KAFKA: OnceLock<Option<Kafka>> = OnceLock::new();
        KAFKA.get_or_init(|| available().then(|| launch(None))).as_ref()
    }

    /// One more for this program, which tests may kill, and whose services reach it through a proxy.
    ///
    /// `None`, with a word on standard error, where java or mvn is missing, unless `ORDER_TESTS_REQUIRE` names `kafka`.
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

    /// Waits until no other test plays with it.
    pub async fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().await
    }

    /// `host:port`, past any proxy.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn service_address(&self) -> &str {
        self.way_in.as_ref().map_or(&self.address, |way_in| &way_in.address)
    }

    /// The proxy of its services; panics for the shared broker, which has none.
    pub fn proxy(&self) -> &Proxy {
        &self.way_in.as_ref().expect("only a broker of one's own has a proxy").proxy
    }

    /// `host:port` of the listener that asks for SASL/PLAIN; `tests/kafka/kafka` says who may come.
    pub(crate) fn guarded_address(&self) -> String {
        format!("127.0.0.1:{}", self.sasl)
    }

    /// Runs a verb of the script on the broker: `kill`, `start`, `pause`, `cont`.
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
    // A topic with a misspelt name fails a test at once, instead of quietly coming into being.
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
    let address = address.unwrap_or_else(|| panic!("Kafka does not start; what the script said is above: {line:?}"));
    eprintln!("kafka: {address}, up after {:.1?}", start.elapsed());
    Kafka { address, way_in, sasl, alone: Mutex::default(), _keeps_it_running: child }
}
