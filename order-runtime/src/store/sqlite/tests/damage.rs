//! A file that is damaged, read-only, or on a machine that loses its power.

use std::{
    fs::OpenOptions,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::Arc,
};

use rusqlite::Connection;

use super::{Mode, expect_the_commit, folder, one_commit, refusal, sqlite};
use crate::store::{
    Committed, Load, PartitionStore, Store as _, StoreError,
    conformance::fixture::{commit, partition, place, step},
};

/// Overwrites a table's first page.
fn damage(path: &Path, table: &str) {
    let db = Connection::open(path).expect("a database");
    let page: u64 = db
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
        .expect("the table is there");
    let size: u64 = db.query_row("PRAGMA page_size", [], |row| row.get(0)).expect("a size");
    db.close().expect("closed");
    let mut file = OpenOptions::new().write(true).open(path).expect("the file");
    file.seek(SeekFrom::Start((page - 1) * size)).expect("the page");
    file.write_all(&vec![0xa5; usize::try_from(size).expect("small")]).expect("written");
}

#[tokio::test]
async fn a_damaged_page_fails_the_start_or_the_operations_that_need_it() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;
    store.close().await;
    damage(&path, "rings");

    let store = sqlite(&path);
    let wanted = Load { windows: vec![b"k".to_vec()], ..Load::default() };
    let loaded = store.load(wanted).await;
    assert!(matches!(&loaded, Err(StoreError::Unusable(text)) if text.contains("malformed")), "{:?}", loaded.err());
    let written = store.commit(vec![Arc::new(step(&partition(0), 1, 1).window("k", 1, b"s"))]).await;
    assert!(matches!(written, Err(StoreError::Unusable(_))), "{written:?}");
    assert_eq!(place(&store, &partition(0)).await, (1, 1), "the position does not pass unapplied events");
    store.close().await;

    damage(&path, "migrations");
    let text = refusal(&path, Mode::Run);
    assert!(text.contains("is damaged") && text.contains("restore it from a backup"), "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_stops_consumption() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;
    let only_reads = |on: bool| move |db: &mut Connection| Ok(db.pragma_update(None, "query_only", on)?);
    store.write(only_reads(true)).await.expect("a setting");
    let refused = store.commit(vec![Arc::new(step(&partition(0), 1, 1))]).await;
    assert!(matches!(refused, Err(StoreError::Unusable(_))), "{refused:?}");
    assert!(store.ping().await.is_err(), "the ping fails too");
    expect_the_commit(&store).await;
    store.write(only_reads(false)).await.expect("a setting");
    assert_eq!(commit(&store, step(&partition(0), 1, 1)).await, Committed::Applied { revision: 2 });
}

/// Kafka's committed offset follows a commit at once. If the commit were only in the system's memory, a power failure would
/// lose events.
#[tokio::test]
async fn each_commit_is_on_the_disk_before_it_is_answered() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    let setting = |name: &'static str| {
        move |db: &mut Connection| -> Result<String, StoreError> {
            Ok(db.query_row(&format!("SELECT CAST((SELECT * FROM pragma_{name}) AS TEXT)"), [], |row| row.get(0))?)
        }
    };
    assert_eq!(store.write(setting("journal_mode")).await.expect("an answer"), "wal");
    assert_eq!(store.write(setting("synchronous")).await.expect("an answer"), "2", "FULL");
}
