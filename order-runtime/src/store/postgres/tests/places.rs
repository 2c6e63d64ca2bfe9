//! The schemas of tables, and the runtimes of connections.

use std::{sync::Arc, time::Duration};

use super::{PostgresStore, database, faults::session, open};
use crate::store::{
    Committed, LetterStore, Outbox, OutboxSize, OutboxStore, PartitionStore,
    conformance::fixture::{begun, commit, counter_change, entity, step},
};

/// The URL of a store in a schema of its own.
async fn in_schema(url: &str, schema: &str) -> String {
    session(url).await.batch_execute(&format!("CREATE SCHEMA {schema}")).await.expect("a schema");
    format!("{url}?options=-c%20search_path%3D{schema}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_where_they_are_read() {
    let url = or_skip!(database().await);
    let shop = in_schema(&url, "shop").await;
    assert!(!PostgresStore::check(&shop, &[entity()]).await.expect("an answer"));
    let store = open(&shop).await;
    let tables = async |schema: &str| -> i64 {
        let count = "SELECT count(*) FROM pg_tables WHERE schemaname = $1";
        session(&url).await.query_one(count, &[&schema]).await.expect("rows").get(0)
    };
    assert_eq!(tables("public").await, 0, "nothing is in a schema that the URL does not name");
    assert!(tables("shop").await > 5);
    assert!(PostgresStore::check(&shop, &[entity()]).await.expect("an answer"));
    let known = begun(&store, 0).await;
    let written = step(&known, 0, 0).writing(vec![counter_change("a", 1, 0)]);
    assert_eq!(commit(&store, written).await, Committed::Applied { revision: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_store_of_a_database_publishes_its_own_outbox() {
    let url = or_skip!(database().await);
    let stores =
        [open(&in_schema(&url, "shop").await).await, open(&in_schema(&url, "depot").await).await, open(&url).await];
    for store in &stores {
        assert_eq!(store.outbox(0, 10).await.expect("an answer"), Outbox::Rows(Vec::new()));
    }
    let second = open(&format!("{url}?options=-c%20search_path%3Dshop")).await;
    assert_eq!(
        second.outbox(0, 10).await.expect("an answer"),
        Outbox::Elsewhere(OutboxSize::default()),
        "one instance for each store"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_thread_does_not_block_the_connections_of_others() {
    let url = or_skip!(database().await);
    let store = Arc::new(open(&url).await);
    let known = begun(&*store, 0).await;
    drop(store);
    // No connection is open yet; the other thread's runtime asks for the first one.
    let store = Arc::new(open(&url).await);
    let (asked, was_asked) = tokio::sync::oneshot::channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn({
        let (store, known) = (Arc::clone(&store), known.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { store.reload(&known).await }).expect("an answer");
            asked.send(()).expect("the test waits");
            // From here on, this runtime is blocked, like that of HTTP when it is busy.
            ended.recv().expect("an end");
        }
    });
    was_asked.await.expect("it has asked");
    let answer = tokio::time::timeout(Duration::from_secs(5), store.reload(&known)).await;
    end.send(()).expect("it waits");
    other.join().expect("no panic");
    assert!(matches!(answer, Ok(Ok(Some(_)))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_do_not_use_the_connections_of_batches() {
    let url = or_skip!(database().await);
    let store = open(&url).await;
    let mut batches = Vec::new();
    for _ in 0..4 {
        batches.push(store.loader.lend().await.expect("a connection"));
    }
    let asked = store.remembered(vec![7.into()], vec![b"key".to_vec()]);
    let loaded = tokio::time::timeout(Duration::from_secs(5), asked).await.expect("it does not wait for a batch");
    assert!(loaded.expect("an answer").dead_letters.is_empty());
}
