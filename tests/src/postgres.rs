//! One PostgreSQL for all tests of a program, with a database for each deployment.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use tokio::sync::{Mutex, MutexGuard};

use crate::{
    broker::{skip, unique},
    proxy::Proxy,
};

/// A running server.
pub struct Postgres {
    address: String,
    proxy: Option<Proxy>,
    alone: Mutex<()>,
    /// The script deletes its server when its standard input closes, so even if this program crashes.
    _keeps_it_running: Child,
}

impl Postgres {
    /// The server that all tests of this program share.
    ///
    /// If PostgreSQL is missing, prints that to standard error and returns `None`, or panics if `ORDER_TESTS_REQUIRE` names
    /// `postgres`.
    pub fn server() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        Self::required(SERVER.get_or_init(start).as_ref())
    }

    /// A second server of this program, which tests may kill, and which services reach through a proxy; `None` as for
    /// [`server`](Self::server).
    pub fn fragile() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        let start = || start().map(|server| Self { proxy: Some(Proxy::start(&server.address)), ..server });
        Self::required(SERVER.get_or_init(start).as_ref())
    }

    /// Waits for exclusive use of the server.
    pub async fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().await
    }

    /// The proxy for services; panics for the shared server, which has none.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("only the fragile server has a proxy")
    }

    /// Changes a URL of the server to go through the proxy, if there is one.
    pub(crate) fn by_proxy(&self, url: &str) -> String {
        match &self.proxy {
            Some(proxy) => url.replacen(&self.address, &format!("127.0.0.1:{}", proxy.port()), 1),
            None => url.to_owned(),
        }
    }

    fn required(server: Option<&'static Self>) -> Option<&'static Self> {
        if server.is_none() {
            skip("postgres", "PostgreSQL is needed");
        }
        server
    }

    /// Creates an empty database and returns its URL.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", unique());
        let url = |database: &str| format!("postgres://postgres@{}/{database}", self.address);
        let (db, connection) =
            tokio_postgres::connect(&url("postgres"), tokio_postgres::NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        db.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("the server creates a database");
        url(&name)
    }

    /// Runs a command of the script on the server: `kill`, `start`, `pause`, `cont`.
    pub async fn control(&self, verb: &str) {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        let status = tokio::process::Command::new(script())
            .args([verb, port])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .expect("bash runs tests/postgres/postgres");
        assert!(status.success(), "postgres {verb} {port}: {status}");
    }
}

fn script() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres/postgres")
}

fn start() -> Option<Postgres> {
    let mut child = Command::new(script())
        .args(["serve", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash runs tests/postgres/postgres");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("the stream is piped")).read_line(&mut line).expect("a text");
    // "up: pid 4711, 127.0.0.1:15432"
    match line.trim().rsplit(' ').next().filter(|address| address.contains(':')) {
        Some(address) => Some(Postgres {
            address: address.to_owned(),
            proxy: None,
            alone: Mutex::default(),
            _keeps_it_running: child,
        }),
        None => {
            // The script has printed the reason and exits.
            let _ = child.wait();
            None
        }
    }
}
