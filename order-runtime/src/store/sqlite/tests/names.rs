//! The file has one name and one owner, and commits fail once it is deleted, moved or replaced.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use super::{Mode, SqliteStore, expect_the_commit, folder, one_commit, refusal, sqlite};
use crate::store::{
    PartitionStore, ReadModel, Store as _, StoreError,
    conformance::fixture::{entity, partition, step},
};

#[tokio::test]
async fn a_second_name_of_the_file_is_refused() {
    let (_folder, path) = folder();
    let running = sqlite(&path);
    one_commit(&running).await;
    let other = path.with_file_name("other.db");
    fs::hard_link(&path, &other).expect("a second name");
    for mode in [Mode::Run, Mode::Beside, Mode::ReadOnly] {
        let text = refusal(&other, mode);
        assert!(text.contains("other.db has 2 names (hard links)") && text.contains("copies"), "{mode:?}: {text}");
    }
    running.close().await;
    assert!(
        refusal(&path, Mode::Run).contains("has 2 names"),
        "the first name is refused too, because either log may be the right one"
    );

    fs::remove_file(&other).expect("removed");
    expect_the_commit(&sqlite(&path)).await;
}

#[tokio::test]
async fn a_symbolic_link_leads_to_the_one_store() {
    let (folder, path) = folder();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    let link = elsewhere.join("link.db");
    symlink(&path, &link).expect("a link");

    let running = sqlite(&link);
    assert!(path.is_file(), "opening a dangling link creates the file that it names");
    one_commit(&running).await;
    for name in [&path, &link] {
        let text = refusal(name, Mode::Run);
        assert!(text.contains("another process runs on"), "{text}");
        let looking = SqliteStore::open(name, &[entity()], Mode::ReadOnly).expect("a reader");
        expect_the_commit(&looking).await;
        looking.close().await;
    }
    assert_eq!(
        fs::read_dir(&elsewhere).expect("the folder").count(),
        1,
        "the log and the lock lie beside the file itself"
    );
}

/// The lock stays with the file when the file is renamed.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_was_moved_is_still_locked() {
    let (_folder, path) = folder();
    let running = sqlite(&path);
    one_commit(&running).await;
    let moved = path.with_file_name("moved.db");
    fs::rename(&path, &moved).expect("moved");
    let text = refusal(&moved, Mode::Run);
    assert!(text.contains("another process runs on") && text.contains("holds") && text.contains("moved.db)"), "{text}");
}

async fn the_next_commit(store: &SqliteStore) -> Result<(), StoreError> {
    store.commit(vec![Arc::new(step(&partition(0), 1, 1))]).await.map(|_| ())
}

/// Takes a file away from a running store, and expects that no commit succeeds any more.
async fn lose(lost_file: &str, how: &str, take: impl FnOnce(&Path)) {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;
    take(&path);
    let answer = the_next_commit(&store).await;
    let Err(StoreError::Unusable(text)) = answer else { panic!("{answer:?}") };
    assert!(text.contains(lost_file) && text.contains(how) && text.contains("restore a backup"), "{text}");
    assert_eq!(store.lost().await, text);
    for answer in [store.ping().await, store.view(entity(), "a").await.map(drop), store.waiting(1).await.map(drop)] {
        assert!(matches!(answer, Err(StoreError::Unusable(_))), "a lost store answers nothing: {answer:?}");
    }
    let log = path.with_extension("db-wal");
    fs::write(&log, "another store's log").expect("written");
    store.close().await;
    assert!(log.exists(), "the file that now has this name belongs to another store");
}

#[tokio::test]
async fn a_deleted_file_ends_all_commits() {
    lose("store.db", "was deleted or moved", |path| fs::remove_file(path).expect("deleted")).await;
}

#[tokio::test]
async fn a_moved_folder_ends_all_commits() {
    lose("store.db", "was deleted or moved", |path| {
        let folder = path.parent().expect("a folder");
        let inner = folder.join("inner");
        fs::create_dir(&inner).expect("a folder");
        fs::rename(path, inner.join("store.db")).expect("moved");
    })
    .await;
}

#[tokio::test]
async fn another_file_at_the_path_ends_all_commits() {
    lose("store.db", "was replaced by another file", |path| {
        let copy = path.with_file_name("copy");
        fs::copy(path, &copy).expect("copied");
        fs::rename(&copy, path).expect("put in its place");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_log_ends_all_commits() {
    lose("store.db-wal", "was deleted or moved", |path| {
        fs::remove_file(path.with_extension("db-wal")).expect("deleted");
    })
    .await;
}

#[tokio::test]
async fn a_deleted_index_of_the_log_ends_all_commits() {
    lose("store.db-shm", "was deleted or moved", |path| {
        fs::remove_file(path.with_extension("db-shm")).expect("deleted");
    })
    .await;
}

#[tokio::test]
async fn an_idle_store_notices_a_deleted_file() {
    let (_folder, path) = folder();
    let store = sqlite(&path);
    one_commit(&store).await;
    fs::remove_file(&path).expect("deleted");
    let noticed = tokio::time::timeout(Duration::from_secs(10), store.lost()).await;
    assert!(noticed.is_ok_and(|reason| reason.contains("store.db was deleted")), "within a second, without any commit");
}
