//! Tests that open stores of earlier releases with this release.
//!
//! `fixtures` keeps a small store of each released layout, named by the version of the runtime's schema. Such a file is never
//! changed. Before a migration is added, run the generator and keep what it writes:
//!
//! ```text
//! ORDER_TESTS_FIXTURES=DIR cargo test -p order-runtime --lib upgrade::write_fixtures -- --ignored
//! ```

mod content;
mod going_on;

use std::{fs, path::Path, process::Command, sync::Arc};

use rusqlite::Connection;

use crate::store::{
    Mode, Store as _, StoreError,
    conformance::fixture::{entity, sqlite},
    postgres::{PostgresStore, tests::database},
    sqlite::SqliteStore,
};

/// The released layouts in SQLite.
const SQLITE: [(&str, &[u8]); 1] = [("3", include_bytes!("fixtures/sqlite-3.db"))];
/// The released layouts in PostgreSQL, as `pg_dump --inserts` writes them.
const POSTGRES: [(&str, &str); 1] = [("3", include_str!("fixtures/postgres-3.sql"))];

/// A copy of the fixture, opened by this release.
fn opened(folder: &Path, layout: &str, bytes: &[u8]) -> SqliteStore {
    let path = folder.join(format!("{layout}.db"));
    fs::write(&path, bytes).expect("a copy");
    sqlite(&path)
}

#[tokio::test]
async fn every_row_of_an_earlier_sqlite_store_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (layout, bytes) in SQLITE {
        let store = opened(folder.path(), layout, bytes);
        content::expect(&store).await;
        store.close().await;
        content::expect(&sqlite(&folder.path().join(format!("{layout}.db")))).await;
    }
}

#[tokio::test]
async fn the_engine_goes_on_with_an_earlier_sqlite_store() {
    let folder = tempfile::tempdir().expect("a folder");
    for (layout, bytes) in SQLITE {
        going_on::expect(Arc::new(opened(folder.path(), layout, bytes))).await;
    }
}

/// An earlier release must refuse a store that this release has upgraded.
#[tokio::test]
async fn an_upgraded_sqlite_store_is_refused_by_the_release_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    sqlite(&path).close().await;
    // Simulated with a store that has one migration more than this release knows.
    let db = Connection::open(&path).expect("a database");
    db.execute("UPDATE migrations SET version = version + 1 WHERE owner = 'runtime'", []).expect("a later version");
    db.close().expect("closed");
    let Err(StoreError::Unusable(text)) = SqliteStore::open(&path, &[entity()], Mode::Run) else {
        panic!("it opened");
    };
    assert!(text.contains("was written by a newer release") && text.contains("run that release"), "{text}");
}

/// A database with the content of the fixture; `None`, with a message, if PostgreSQL is not available.
async fn restored(dump: &str) -> Option<String> {
    let url = database().await?;
    let (db, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    db.batch_execute(dump).await.expect("a dump that can be read");
    Some(url)
}

async fn postgres(url: &str) -> PostgresStore {
    PostgresStore::open(url, &[entity()], Mode::Run).await.expect("a store that opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_an_earlier_postgres_store_is_read() {
    for (_, dump) in POSTGRES {
        let Some(url) = restored(dump).await else { return };
        content::expect(&postgres(&url).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_goes_on_with_an_earlier_postgres_store() {
    for (_, dump) in POSTGRES {
        let Some(url) = restored(dump).await else { return };
        going_on::expect(Arc::new(postgres(&url).await)).await;
    }
}

/// Writes a store of the current layout into the folder that `ORDER_TESTS_FIXTURES` names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a generator: it writes fixtures of the current layout"]
async fn write_fixtures() {
    let folder = std::env::var_os("ORDER_TESTS_FIXTURES").expect("ORDER_TESTS_FIXTURES names a folder");
    let folder = Path::new(&folder);
    let path = folder.join("sqlite.db");
    let store = sqlite(&path);
    content::write(&store).await;
    store.close().await;
    Connection::open(&path)
        .and_then(|db| {
            db.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM; PRAGMA journal_mode = WAL")
        })
        .expect("a smaller file");

    let url = database().await.expect("PostgreSQL is needed");
    let store = postgres(&url).await;
    content::write(&store).await;
    store.close().await;
    let dump = Command::new("pg_dump")
        .args(["--inserts", "--no-owner", "--no-privileges", &url])
        .output()
        .expect("pg_dump is installed");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    fs::write(folder.join("postgres.sql"), dump.stdout).expect("written");
}
