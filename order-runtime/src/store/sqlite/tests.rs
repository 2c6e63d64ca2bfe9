//! The cases that concern only a store in a file: the file, its disk, its schema, its other readers.

mod damage;
#[cfg(unix)]
mod names;
mod readers;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Mode, SqliteEntity, SqliteStore};
use crate::store::{
    AuditRow, Change, Committed, Entity, EntityType, LetterStore, Page, PartitionStore, ReadModel, Row, Store,
    StoreError,
    conformance::fixture::{begun, commit, counter_change, entity, numbers, partition, place, sqlite, step, waiting},
};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    (folder, path)
}

fn refusal(path: &Path, mode: Mode) -> String {
    match SqliteStore::open(path, &[entity()], mode) {
        Err(StoreError::Unusable(text)) => text,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it opened"),
    }
}

fn integrity(path: &Path) -> String {
    let db = Connection::open(path).expect("a database");
    db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer")
}

async fn one_commit(store: &SqliteStore) {
    let known = begun(store, 0).await;
    let mut changes = step(&known, 0, 0).writing(vec![counter_change("a", 1, 0)]).window("k", 0, b"r");
    changes.waiting = vec![waiting(0)];
    assert_eq!(commit(store, changes).await, Committed::Applied { revision: 1 });
}

async fn expect_the_commit(store: &SqliteStore) {
    assert_eq!(place(store, &partition(0)).await, (1, 1));
    assert_eq!(numbers(store, &["a"]).await, [("a".into(), 1)]);
    assert_eq!(store.window(b"k".to_vec()).await.expect("an answer"), Some(b"r".to_vec()));
    assert_eq!(store.waiting(9).await.expect("rows"), [(partition(0), waiting(0))]);
}

#[tokio::test]
async fn commits_survive_closing() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    let id = store.claim("group").await.expect("a claim");
    one_commit(&store).await;
    store.close().await;
    assert!(!path.with_extension("db-wal").exists(), "a closed store is one file");
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))), "a closed store is unavailable");

    let again = sqlite(&path);
    assert_eq!(again.claim("group").await.expect("a claim"), id);
    expect_the_commit(&again).await;
}

#[tokio::test]
async fn commits_survive_a_crash() {
    let (folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;

    // A killed process leaves the files as they are, with the last commits only in the write-ahead log.
    let crashed = folder.path().join("crashed.db");
    fs::copy(&path, &crashed).expect("a copy");
    fs::copy(path.with_extension("db-wal"), crashed.with_extension("db-wal")).expect("a copy of the log");
    let looking = SqliteStore::open(&crashed, &[entity()], Mode::ReadOnly).expect("a reader of the remaining files");
    expect_the_commit(&looking).await;
    looking.close().await;
    let recovered = sqlite(&crashed);
    expect_the_commit(&recovered).await;
    recovered.close().await;
    assert_eq!(integrity(&crashed), "ok");
}

#[tokio::test]
async fn a_dropped_store_releases_its_file() {
    let (_folder, path) = folder();
    drop(sqlite(&path));
    let deadline = Instant::now() + Duration::from_secs(10);
    while SqliteStore::open(&path, &[entity()], Mode::Run).is_err() {
        assert!(Instant::now() < deadline, "the lock is still held");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn files_that_are_not_a_store_are_refused_and_not_changed() {
    let (_folder, path) = folder();
    let garbage = "not a database, but quite long enough to be taken for the header of one: ".repeat(20);
    fs::write(&path, &garbage).expect("a file");
    for mode in [Mode::Run, Mode::ReadOnly] {
        let text = refusal(&path, mode);
        assert!(text.contains("store.db is not an SQLite database; set STORE_URL"), "{text}");
    }
    assert_eq!(fs::read_to_string(&path).expect("the file"), garbage);

    fs::remove_file(&path).expect("removed");
    let other_program = Connection::open(&path).expect("a database");
    other_program.execute_batch("CREATE TABLE theirs (a)").expect("a table");
    assert!(refusal(&path, Mode::Run).contains("the database of another program"));
    let tables: i64 =
        other_program.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).expect("a count");
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    for owner in ["runtime", "entity Counter"] {
        let (_folder, path) = folder();
        sqlite(&path).close().await;
        let newer_release = Connection::open(&path).expect("a database");
        let changed = newer_release
            .execute("UPDATE migrations SET version = version + 1 WHERE owner = ?1", [owner])
            .expect("an update");
        assert_eq!(changed, 1);
        for mode in [Mode::Run, Mode::ReadOnly] {
            let text = refusal(&path, mode);
            assert!(text.contains("written by a newer release") && text.contains(owner), "{text}");
        }
    }
}

#[tokio::test]
async fn one_process_runs_and_others_may_read() {
    let (_folder, path) = folder();
    assert!(refusal(&path, Mode::ReadOnly).contains("does not exist; run the service once"));

    let running = sqlite(&path);
    one_commit(&running).await;
    let text = refusal(&path, Mode::Run);
    assert!(text.contains("another process runs on") && text.contains("store.db.lock"), "{text}");

    let looking = SqliteStore::open(&path, &[entity()], Mode::ReadOnly).expect("a reader beside the running one");
    expect_the_commit(&looking).await;
    let written = looking.commit(vec![Arc::new(step(&partition(0), 1, 1))]).await;
    assert!(matches!(written, Err(StoreError::Unusable(_))), "{written:?}");
    assert_eq!(place(&running, &partition(0)).await, (1, 1));
}

#[tokio::test]
async fn an_operator_works_beside_the_running_service() {
    let (_folder, path) = folder();
    assert!(refusal(&path, Mode::Beside).contains("does not exist; run the service once"));
    let running = sqlite(&path);
    one_commit(&running).await;
    let beside = SqliteStore::open(&path, &[entity()], Mode::Beside).expect("a writer beside the running one");
    let entry = AuditRow {
        id: uuid::Uuid::from_u128(1),
        at: waiting(0).due,
        by: "cli:somebody".into(),
        action: "park".into(),
        letters: 0,
        selection: "{}".into(),
    };
    beside.mark(entry.clone(), Vec::new()).await.expect("written beside");
    assert_eq!(running.audit(1).await.expect("a readable store"), [entry], "the service sees it");

    // A commit fences the other process, whichever of the two commits first.
    assert_eq!(commit(&beside, step(&partition(0), 1, 1)).await, Committed::Applied { revision: 2 });
    assert_eq!(commit(&running, step(&partition(0), 1, 1)).await, Committed::Fenced);
    beside.close().await;
    assert_eq!(
        (place(&running, &partition(0)).await, numbers(&running, &["a"]).await),
        ((2, 2), vec![("a".into(), 1)])
    );
    assert!(refusal(&path, Mode::Run).contains("another process runs on"), "the lock is still held");
}

#[test]
fn a_missing_folder_is_named() {
    let (folder, _) = folder();
    let text = refusal(&folder.path().join("absent/store.db"), Mode::Run);
    assert!(text.contains("absent does not exist; create it"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, path) = folder();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("permissions");
    let text = if fs::write(closed.join("probe"), "").is_ok() {
        // Permissions do not stop the superuser, so the test creates the error itself.
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        super::error::preparing(&path, &denied).to_string()
    } else {
        refusal(&closed.join("store.db"), Mode::Run)
    };
    assert!(text.contains("give this user write permission to the file and its folder"), "{text}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;
    let mut files = 0;
    for file in fs::read_dir(folder.path()).expect("the folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("its metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
        files += 1;
    }
    assert_eq!(files, 4, "database, log, log index, lock");
}

#[tokio::test]
async fn a_full_disk_is_a_temporary_error() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;
    let limit = |pages: i64| {
        move |db: &mut Connection| -> Result<i64, StoreError> {
            Ok(db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0))?)
        }
    };
    store.write(limit(1)).await.expect("SQLite uses the current size as the smallest limit");
    let large = || vec![Arc::new(step(&partition(0), 1, 1).window("large", 0, &[7; 100_000]))];
    let full = store.commit(large()).await;
    assert!(matches!(full, Err(StoreError::Unavailable(_))), "{full:?}");
    expect_the_commit(&store).await;

    store.write(limit(1_000_000)).await.expect("a higher limit");
    assert_eq!(store.commit(large()).await.expect("a commit"), [Committed::Applied { revision: 2 }]);
    store.close().await;
    assert_eq!(integrity(&path), "ok");
}

#[tokio::test]
async fn a_lock_of_another_program_is_a_temporary_error() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    let known = begun(&store, 0).await;
    let patience = |db: &mut Connection| Ok(db.busy_timeout(Duration::from_millis(10))?);
    store.write(patience).await.expect("a shorter wait");

    let other = Connection::open(&path).expect("another connection");
    other.execute_batch("BEGIN EXCLUSIVE").expect("a lock");
    let locked = store.commit(vec![Arc::new(step(&known, 0, 0))]).await;
    assert!(matches!(locked, Err(StoreError::Unavailable(_))), "{locked:?}");
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));

    other.execute_batch("ROLLBACK").expect("the lock's end");
    assert_eq!(commit(&store, step(&known, 0, 0)).await, Committed::Applied { revision: 1 });
}

#[tokio::test]
async fn data_that_the_schema_refuses_does_not_affect_other_partitions() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    let (first, second) = (begun(&store, 0).await, begun(&store, 1).await);
    let below_zero = || Arc::new(step(&first, 0, 0).writing(vec![counter_change("bad", -1, 0)]));
    let fine = Arc::new(step(&second, 0, 0).writing(vec![counter_change("fine", 1, 0)]));

    let answers = store.commit(vec![below_zero(), fine]).await.expect("a commit");
    assert!(matches!(&answers[0], Committed::Refused(why) if why.contains("CHECK constraint failed")), "{answers:?}");
    assert_eq!(answers[1], Committed::Applied { revision: 1 });
    assert_eq!(numbers(&store, &["bad", "fine"]).await, [("fine".into(), 1)]);

    let alone = store.commit(vec![below_zero()]).await.expect("a commit");
    assert!(matches!(alone[0], Committed::Refused(_)), "{alone:?}");
    assert_eq!(place(&store, &first).await, (0, 0));
}

/// An entity called `Counter` like the fixture's, as an earlier release declared it. Its statements panic.
mod earlier {
    use super::{Connection, Entity, Page, Row, SqliteEntity};

    const FIRST: &str = <crate::store::conformance::fixture::Counter as SqliteEntity>::MIGRATIONS[0];

    #[derive(Debug, Clone, serde::Serialize)]
    pub(super) struct Counter<const BROKEN: bool>(pub(super) String);

    impl<const BROKEN: bool> Entity for Counter<BROKEN> {
        type Id = String;
        const TABLE: &'static str = "counters";

        fn id(&self) -> &String {
            &self.0
        }
    }

    impl<const BROKEN: bool> SqliteEntity for Counter<BROKEN> {
        const MIGRATIONS: &'static [&'static str] = if BROKEN {
            &[FIRST, "ALTER TABLE counters ADD COLUMN half INTEGER; ALTER TABLE absent ADD COLUMN other"]
        } else {
            &[FIRST]
        };

        fn load(_: &Connection, _: &[String]) -> rusqlite::Result<Vec<Row<Self>>> {
            panic!("the table of an earlier release")
        }

        fn insert(_: &Connection, _: &[&Row<Self>]) -> rusqlite::Result<usize> {
            panic!("the table of an earlier release")
        }

        fn update(_: &Connection, _: &[(&Row<Self>, u64)]) -> rusqlite::Result<usize> {
            panic!("the table of an earlier release")
        }

        fn remove(_: &Connection, _: &[(&String, u64)]) -> rusqlite::Result<usize> {
            panic!("the table of an earlier release")
        }

        fn page(_: &Connection, _: &Page) -> rusqlite::Result<Vec<Row<Self>>> {
            panic!("the table of an earlier release")
        }
    }
}

fn earlier<const BROKEN: bool>() -> EntityType {
    EntityType { sqlite: const { &super::Table::<earlier::Counter<BROKEN>>::NEW }, ..entity() }
}

#[tokio::test]
async fn migrations_run_once_each_and_whole() {
    let (_folder, path) = folder();
    SqliteStore::open(&path, &[earlier::<false>()], Mode::Run).expect("the earlier release").close().await;
    assert!(refusal(&path, Mode::ReadOnly).contains("run the service once"), "only `Mode::Run` migrates");

    let broken = SqliteStore::open(&path, &[earlier::<true>()], Mode::Run).err().map(|error| error.to_string());
    assert!(broken.as_ref().is_some_and(|text| text.contains("no such table: absent")), "{broken:?}");
    let half: i64 = Connection::open(&path)
        .and_then(|db| {
            db.query_row("SELECT count(*) FROM pragma_table_info('counters') WHERE name = 'half'", [], |row| row.get(0))
        })
        .expect("a count");
    assert_eq!(half, 0, "a migration that fails leaves nothing");

    let store = sqlite(&path);
    one_commit(&store).await;
    expect_the_commit(&store).await;
}

#[test]
fn two_entity_types_of_one_name_are_refused() {
    let (_folder, path) = folder();
    let both = SqliteStore::open(&path, &[entity(), earlier::<false>()], Mode::Run);
    assert!(matches!(both, Err(StoreError::Unusable(text)) if text.contains("two entity types are called Counter")));
}

#[tokio::test]
async fn a_store_survives_a_panicking_statement() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;
    let id = "x".to_owned();
    let change = Change::Put {
        row: Row {
            value: earlier::Counter::<false>(id),
            version: 1,
            created_at: waiting(0).due,
            updated_at: waiting(0).due,
        },
        expected: 0,
    };
    let mut changes = step(&partition(0), 1, 1);
    changes.entities.push((earlier::<false>(), Arc::new(vec![change])));
    assert!(matches!(commit(&store, changes).await, Committed::Refused(_)));
    let view = store.view(earlier::<false>(), "x").await;
    assert!(matches!(view, Err(StoreError::Refused(_))), "{view:?}");

    expect_the_commit(&store).await;
    assert_eq!(commit(&store, step(&partition(0), 1, 1)).await, Committed::Applied { revision: 2 });
}
