//! One PostgreSQL for all tests of a program, with a database for each deployment.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use crate::broker::{REQUIRE, unique};

/// A running server.
pub struct Postgres {
    address: String,
    /// The script wipes its server when its standard input closes, which happens however this program ends.
    _keeps_it_running: Child,
}

impl Postgres {
    /// The server of this program.
    ///
    /// `None`, with a word on standard error, where PostgreSQL is missing, unless `ORDER_TESTS_REQUIRE` names
    /// `postgres`.
    pub fn server() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        let server = SERVER.get_or_init(start).as_ref();
        if server.is_none() {
            let required = env::var(REQUIRE).unwrap_or_default();
            let required = required.split(',').any(|suite| suite.trim() == "postgres");
            assert!(!required, "PostgreSQL is needed, since {REQUIRE} names postgres");
            eprintln!("skipped: PostgreSQL is needed");
        }
        server
    }

    /// Makes an empty database and answers its URL.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", unique());
        let url = |database: &str| format!("postgres://postgres@{}/{database}", self.address);
        let (db, connection) =
            tokio_postgres::connect(&url("postgres"), tokio_postgres::NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        db.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database can be made");
        url(&name)
    }

    /// Runs a verb of the script on the server: `kill`, `start`, `pause`, `cont`.
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
        Some(address) => Some(Postgres { address: address.to_owned(), _keeps_it_running: child }),
        None => {
            // It has said why, and ends.
            let _ = child.wait();
            None
        }
    }
}
