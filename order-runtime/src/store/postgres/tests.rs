//! A server for tests, and the cases that concern only PostgreSQL.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{Mode, PostgresStore};
use crate::store::{
    Committed, Load, PartitionStore, Store, StoreError,
    conformance::fixture::{begun, commit, counter_change, entity, numbers, place, step},
};

/// Unwraps a value that needs PostgreSQL; ends the test if there is none.
macro_rules! or_skip {
    ($option:expr) => {
        match $option {
            Some(value) => value,
            None => return,
        }
    };
}

mod faults;
mod interleavings;
mod places;
#[cfg(feature = "tls-postgres")]
mod tls;

/// The suites that must run, separated by commas: a missing requirement then fails the test instead of skipping it.
const REQUIRE: &str = "ORDER_TESTS_REQUIRE";

/// One server for all tests of this program.
struct Server {
    address: String,
    /// The script removes its server when its standard input closes, which happens however this program ends.
    _keeps_it_running: Child,
}

fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/postgres/postgres");
        let mut child = Command::new(script)
            .args(["serve", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs tests/postgres/postgres");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a text");
        // "up: pid 4711, 127.0.0.1:15432"
        let Some(address) = line.trim().rsplit(' ').next().filter(|address| address.contains(':')) else {
            // The script has printed the reason, and ends.
            let _ = child.wait();
            return None;
        };
        Some(Server { address: address.to_owned(), _keeps_it_running: child })
    });
    if server.is_none() {
        let required = std::env::var(REQUIRE).unwrap_or_default();
        let required = required.split(',').any(|suite| suite.trim() == "postgres");
        assert!(!required, "PostgreSQL is needed, since {REQUIRE} names postgres");
        eprintln!("skipped: PostgreSQL is needed");
    }
    server.as_ref()
}

/// The URL of an empty database; `None`, with a message, if PostgreSQL is not available.
pub(crate) async fn database() -> Option<String> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let address = &server()?.address;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let (db, connection) =
        tokio_postgres::connect(&format!("postgres://postgres@{address}/postgres"), tokio_postgres::NoTls)
            .await
            .expect("a connection");
    tokio::spawn(connection);
    db.batch_execute(&format!("CREATE DATABASE {name} STRATEGY file_copy")).await.expect("a database");
    Some(format!("postgres://postgres@{address}/{name}"))
}

/// A store in an empty database.
pub(crate) async fn store() -> Option<PostgresStore> {
    Some(open(&database().await?).await)
}

async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(url, &[entity()], Mode::Run).await.expect("a store that opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_fence_each_other() {
    let url = or_skip!(database().await);
    let (one, other) = (open(&url).await, open(&url).await);
    let known = begun(&one, 0).await;
    assert_eq!(commit(&one, step(&known, 0, 0)).await, Committed::Applied { revision: 1 });
    assert_eq!(commit(&other, step(&known, 0, 0)).await, Committed::Fenced);
    assert_eq!(place(&other, &known).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_insert_the_same_rows_conflict_and_never_deadlock() {
    let url = or_skip!(database().await);
    let mut racers = Vec::new();
    for number in 0..4 {
        let store = Arc::new(open(&url).await);
        let partition = begun(&*store, number).await;
        racers.push(tokio::spawn(async move {
            let mut applied = 0;
            for round in 0..20 {
                let position = place(&*store, &partition).await;
                // Overlapping sets, in a different order for each instance.
                let mut ids: Vec<String> = (0..30).map(|id| format!("{round}-{id}")).collect();
                ids.rotate_left(usize::try_from(number).expect("small") * 7);
                let changes = ids.iter().map(|id| counter_change(id, i64::from(number), 0)).collect();
                match commit(&*store, step(&partition, position.0, position.1).writing(changes)).await {
                    Committed::Applied { .. } => applied += 1,
                    other => assert_eq!(other, Committed::Conflict),
                }
            }
            applied
        }));
    }
    let mut applied = 0;
    for racer in racers {
        applied += racer.await.expect("a racer that ends");
    }
    assert_eq!(applied, 20, "exactly one instance inserts each set");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_publishes_and_another_takes_over() {
    let url = or_skip!(database().await);
    let (one, other) = (open(&url).await, open(&url).await);
    let rows = |store| async move { super::OutboxStore::outbox(store, 0, 10).await.expect("an answer") };
    assert_eq!(rows(&one).await, crate::store::Outbox::Rows(Vec::new()));
    assert_eq!(rows(&other).await, crate::store::Outbox::Elsewhere(crate::store::OutboxSize::default()));
    one.close().await;
    // The server notices the end of the connection a moment later.
    let taken_over = async {
        while rows(&other).await == crate::store::Outbox::Elsewhere(crate::store::OutboxSize::default()) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), taken_over).await.expect("the other one takes over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_data_that_postgres_cannot_store_is_refused() {
    let store = or_skip!(store().await);
    let (first, second) = (begun(&store, 0).await, begun(&store, 1).await);
    for bad in [counter_change("nul \0", 1, 0), counter_change("negative", -1, 0)] {
        let (one, other) = (place(&store, &first).await, place(&store, &second).await);
        let answers = store
            .commit(vec![
                Arc::new(step(&first, one.0, one.1).writing(vec![bad])),
                Arc::new(step(&second, other.0, other.1)),
            ])
            .await
            .expect("a commit");
        assert!(matches!(answers[0], Committed::Refused(_)), "{answers:?}");
        assert!(matches!(answers[1], Committed::Applied { .. }), "{answers:?}");
    }
    assert_eq!(place(&store, &first).await, (0, 0));
    let odd = Load {
        entities: vec![(entity(), Box::new(vec!["nul \0".to_owned()]))],
        dead_letters: vec![0.into()],
        windows: vec![b"\0".to_vec()],
    };
    let loaded = store.load(odd).await.expect("keys that cannot exist are absent");
    assert!(loaded.windows.is_empty() && loaded.dead_letters.is_empty());
    assert_eq!(numbers(&store, &["nul \0"]).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_ends_is_replaced() {
    let url = or_skip!(database().await);
    let store = open(&url).await;
    let known = begun(&store, 0).await;
    let (db, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'order-runtime' AND datname = current_database()", &[])
        .await
        .expect("a superuser may");
    // Each connection may fail once.
    for _ in 0..8 {
        let _ = store.ping().await;
        let _ = store.reload(&known).await;
        let _ = store.commit(vec![Arc::new(step(&known, 7, 7))]).await;
    }
    assert_eq!(commit(&store, step(&known, 0, 0)).await, Committed::Applied { revision: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_the_schema_is_recognized() {
    let url = or_skip!(database().await);
    assert!(!PostgresStore::check(&url, &[entity()]).await.expect("an answer"), "no service has run on it");
    open(&url).await;
    assert!(PostgresStore::check(&url, &[entity()]).await.expect("an answer"));
    let (db, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    db.execute("UPDATE migrations SET version = 99", &[]).await.expect("an update");
    let newer = PostgresStore::open(&url, &[entity()], Mode::Run).await.expect_err("a newer release");
    assert!(matches!(&newer, StoreError::Unusable(text) if text.contains("newer release")), "{newer}");
}

#[tokio::test]
async fn wrong_urls_are_reported_without_their_secrets() {
    for (url, expected) in [
        ("postgres://user:secret@127.0.0.1:1x/db", "cannot be read"),
        ("postgres://user:secret@db.example/x", "sslmode=disable"),
        ("postgres://user:secret@127.0.0.1:1/x", "onnect"),
    ] {
        let error =
            PostgresStore::open(url, &[entity()], Mode::Run).await.expect_err("it cannot be opened").to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
