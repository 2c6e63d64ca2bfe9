//! Errors of the server, caused by its own faults, by other sessions, or by the data.

use std::{sync::Arc, time::Duration};

use tokio_postgres::{Client, NoTls};

use super::{Mode, PostgresStore, database, open};
use crate::store::{
    Committed, DedupRow, PartitionStore, Store, StoreError,
    conformance::fixture::{begun, commit, counter_change, entity, noise, numbers, place, step},
    postgres::link::Link,
};

pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn session(url: &str) -> Client {
    let (db, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    db
}

/// Waits until the query `question` returns true.
pub(super) async fn until(db: &Client, question: &str) {
    let answered = async {
        while !db.query_one(question, &[]).await.expect("an answer").get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, answered).await.unwrap_or_else(|_| panic!("never true: {question}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sql_state_has_its_kind_of_error() {
    #[derive(Debug, PartialEq, Eq)]
    enum Meaning {
        Passes,
        Conflict,
        Data,
        Operator,
    }
    let url = or_skip!(database().await);
    let store = open(&url).await;
    let known = begun(&store, 0).await;
    let db = session(&url).await;
    db.batch_execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
         CREATE TRIGGER fails BEFORE UPDATE ON positions FOR EACH STATEMENT EXECUTE FUNCTION fail()",
    )
    .await
    .expect("a trigger");
    for (states, meaning) in [
        // No disk space, memory or connection left; a lock, a cancelled statement, a server that stops, starts or is damaged.
        (
            &["53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "57P03", "58030", "08006", "XX000"][..],
            Meaning::Passes,
        ),
        // A read-only server: another server is taking over.
        (&["25006"], Meaning::Passes),
        (&["40001", "40P01"], Meaning::Conflict),
        (&["22003", "22021", "22P05", "23502", "23505", "23514", "54000"], Meaning::Data),
        (&["42501", "42P01", "42703", "28000", "3D000", "3F000", "0A000"], Meaning::Operator),
    ] {
        for state in states {
            db.batch_execute(&format!(
                "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN RAISE EXCEPTION 'as the test says' USING ERRCODE = '{state}'; END $$"
            ))
            .await
            .expect("another body");
            let answer = store.commit(vec![Arc::new(step(&known, 0, 0))]).await;
            let found = match &answer {
                Err(StoreError::Unavailable(_)) => Meaning::Passes,
                Ok(answers) if answers[..] == [Committed::Conflict] => Meaning::Conflict,
                Ok(answers) if matches!(answers[..], [Committed::Refused(_)]) => Meaning::Data,
                Err(StoreError::Unusable(_)) => Meaning::Operator,
                other => panic!("{state}: {other:?}"),
            };
            assert_eq!(found, meaning, "{state}: {answer:?}");
        }
    }
    db.batch_execute("DROP TRIGGER fails ON positions").await.expect("no trigger");
    assert_eq!(commit(&store, step(&known, 0, 0)).await, Committed::Applied { revision: 1 }, "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_too_long_for_its_index_is_refused() {
    let url = or_skip!(database().await);
    let store = open(&url).await;
    let known = begun(&store, 0).await;
    let mut changes = step(&known, 0, 0);
    changes.windows.push(DedupRow { key: noise(10_000), version: 0, bytes: b"r".to_vec() });
    let answer = commit(&store, changes).await;
    assert!(matches!(&answer, Committed::Refused(text) if text.contains("index")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_another_session_is_a_temporary_error() {
    let url = or_skip!(database().await);
    let store = open(&format!("{url}?options=-c%20lock_timeout%3D100ms")).await;
    let known = begun(&store, 0).await;
    let db = session(&url).await;
    db.batch_execute("BEGIN; LOCK TABLE positions IN EXCLUSIVE MODE").await.expect("a lock");
    let answer = store.commit(vec![Arc::new(step(&known, 0, 0))]).await;
    assert!(matches!(&answer, Err(StoreError::Unavailable(text)) if text.contains("55P03")), "{answer:?}");
    assert_eq!(place(&store, &known).await, (0, 0), "a read is not blocked");
    db.batch_execute("ROLLBACK").await.expect("its end");
    assert_eq!(commit(&store, step(&known, 0, 0)).await, Committed::Applied { revision: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_is_cancelled() {
    let url = or_skip!(database().await);
    let store = open(&format!("{url}?options=-c%20statement_timeout%3D200ms")).await;
    let known = begun(&store, 0).await;
    let db = session(&url).await;
    db.batch_execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
         CREATE TRIGGER dawdles BEFORE UPDATE ON positions FOR EACH STATEMENT EXECUTE FUNCTION dawdle()",
    )
    .await
    .expect("a trigger");
    let answer = store.commit(vec![Arc::new(step(&known, 0, 0))]).await;
    assert!(matches!(&answer, Err(StoreError::Unavailable(text)) if text.contains("57014")), "{answer:?}");
    db.batch_execute("DROP TRIGGER dawdles ON positions").await.expect("no trigger");
    assert_eq!(commit(&store, step(&known, 0, 0)).await, Committed::Applied { revision: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_are_a_temporary_error() {
    let url = or_skip!(database().await);
    let db = session(&url).await;
    let name = url.rsplit('/').next().expect("a database");
    db.batch_execute(&format!(
        "CREATE ROLE of_{name} LOGIN CONNECTION LIMIT 2; GRANT ALL ON SCHEMA public TO of_{name}"
    ))
    .await
    .expect("a role");
    let limited = url.replace("postgres@", &format!("of_{name}@"));
    let store = open(&limited).await;
    until(&db, &format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'of_{name}'")).await;
    let others = (session(&limited).await, session(&limited).await);
    let answer = store.ping().await;
    assert!(matches!(&answer, Err(StoreError::Unavailable(text)) if text.contains("53300")), "{answer:?}");
    drop(others);
    until(&db, &format!("SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'of_{name}'")).await;
    let known = begun(&store, 0).await;
    assert_eq!(commit(&store, step(&known, 0, 0)).await, Committed::Applied { revision: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_retried_after_a_deadlock_with_another_program() {
    let url = or_skip!(database().await);
    let store = Arc::new(open(&format!("{url}?options=-c%20deadlock_timeout%3D2s")).await);
    let known = begun(&*store, 0).await;
    let first = step(&known, 0, 0).writing(vec![counter_change("a", 1, 0), counter_change("b", 1, 0)]);
    assert_eq!(commit(&*store, first).await, Committed::Applied { revision: 1 });

    // Another program locks the same rows in the opposite order. The server checks a wait for a deadlock once, after the
    // session's `deadlock_timeout`. The store's wait is checked first, and by then it is part of a deadlock.
    let db = session(&url).await;
    db.batch_execute("SET deadlock_timeout = '60s'; BEGIN; SELECT 1 FROM counters WHERE id = 'b' FOR UPDATE")
        .await
        .expect("b");
    let both = step(&known, 1, 1).writing(vec![counter_change("a", 2, 1), counter_change("b", 2, 1)]);
    let committing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.commit(vec![Arc::new(both)]).await }
    });
    let watch = session(&url).await;
    let waits = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity
                 WHERE application_name = 'order-runtime' AND wait_event_type = 'Lock' AND datname = current_database())";
    until(&watch, waits).await;
    let other_way = db.batch_execute("SELECT 1 FROM counters WHERE id = 'a' FOR UPDATE; COMMIT").await;
    let answer = tokio::time::timeout(LIMIT, committing).await.expect("in time").expect("no panic");
    assert!(other_way.is_ok(), "{other_way:?}");
    assert_eq!(answer.expect("an outcome"), [Committed::Applied { revision: 2 }]);
    assert_eq!(numbers(&*store, &["a", "b"]).await, [("a".into(), 2), ("b".into(), 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_start_at_once_make_one_schema() {
    let url = or_skip!(database().await);
    let mut opening = Vec::new();
    for _ in 0..6 {
        let url = url.clone();
        opening.push(tokio::spawn(async move { PostgresStore::open(&url, &[entity()], Mode::Run).await }));
    }
    for opened in opening {
        opened.await.expect("no panic").expect("a store that opens");
    }
    let applied: i64 =
        session(&url).await.query_one("SELECT count(*) FROM migrations", &[]).await.expect("rows").get(0);
    assert_eq!(applied, 2, "the runtime's and the entity's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_leaves_nothing() {
    let url = or_skip!(database().await);
    let db = session(&url).await;
    db.batch_execute("CREATE TABLE rings (theirs integer)").await.expect("a table of another program");
    let refused = PostgresStore::open(&url, &[entity()], Mode::Run).await.expect_err("its table is in the way");
    assert!(matches!(&refused, StoreError::Unusable(text) if text.contains("rings")), "{refused}");
    let left: i64 = db
        .query_one("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'rings'", &[])
        .await
        .expect("rows")
        .get(0);
    assert_eq!(left, 0);
    db.batch_execute("DROP TABLE rings").await.expect("dropped");
    open(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_whose_connection_ends_runs_again() {
    let url = or_skip!(database().await);
    let db = session(&url).await;
    // The first statement after the lock waits for this table.
    db.batch_execute(
        "CREATE TABLE migrations (owner text PRIMARY KEY, version bigint NOT NULL); BEGIN; LOCK TABLE migrations",
    )
    .await
    .expect("a lock");
    let opening = tokio::spawn({
        let url = url.clone();
        async move { PostgresStore::open(&url, &[entity()], Mode::Run).await }
    });
    let watch = session(&url).await;
    let migrates = "application_name = 'order-runtime' AND wait_event_type = 'Lock' AND datname = current_database()";
    until(&watch, &format!("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE {migrates})")).await;
    watch
        .batch_execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {migrates}"))
        .await
        .expect("a superuser may");
    let ended = tokio::time::timeout(LIMIT, opening).await.expect("in time").expect("no panic");
    assert!(matches!(&ended, Err(StoreError::Unavailable(_))), "{:?}", ended.err());
    db.batch_execute("COMMIT").await.expect("its end");
    let store = open(&url).await;
    let known = begun(&store, 0).await;
    assert_eq!(commit(&store, step(&known, 0, 0)).await, Committed::Applied { revision: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_a_free_connection_has_a_limit() {
    let url = or_skip!(database().await);
    let link = Link::new(&url, 1, Duration::from_millis(200)).expect("a valid URL");
    let held = link.lend().await.expect("the first one");
    let error = link.run(async |_| Ok(())).await.expect_err("the only connection is in use");
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("in use")), "{error}");
    held.give_back();
    link.run(async |_| Ok(())).await.expect("it is free again");
}
