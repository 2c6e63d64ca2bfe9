//! An entity, partitions and changes for the tests of stores.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    model::PartitionId,
    store::{
        Change, Changes, Committed, DedupRow, Entity, EntityType, Load, Mode, Outbox, OutboxRow, Page, Row, Store,
        WaitingRow, WaitingState,
        postgres::{Client, PostgresEntity, PostgresError},
        sqlite::{SqliteEntity, SqliteStore, keys},
    },
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Counter {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) n: i64,
}

impl Entity for Counter {
    type Id = String;
    const TABLE: &'static str = "counters";
    const FILTERS: &'static [&'static str] = &["status"];

    fn id(&self) -> &String {
        &self.id
    }
}

fn counter(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row<Counter>> {
    let time = |column| Ok::<_, rusqlite::Error>(Timestamp::from_microsecond(row.get(column)?).expect("a time"));
    Ok(Row {
        value: Counter { id: row.get(0)?, status: row.get(1)?, n: row.get(2)? },
        version: row.get(3)?,
        created_at: time(4)?,
        updated_at: time(5)?,
    })
}

impl SqliteEntity for Counter {
    const MIGRATIONS: &'static [&'static str] = &[
        "CREATE TABLE counters (id TEXT PRIMARY KEY, status TEXT NOT NULL, n INTEGER NOT NULL CHECK (n >= 0)) STRICT",
        "ALTER TABLE counters ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
         ALTER TABLE counters ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE counters ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;",
    ];

    fn load(db: &Connection, ids: &[String]) -> rusqlite::Result<Vec<Row<Self>>> {
        let mut statement =
            db.prepare_cached("SELECT counters.* FROM rarray(?1) AS wanted CROSS JOIN counters ON id = wanted.value")?;
        statement.query_map([keys(ids.iter().cloned())], counter)?.collect()
    }

    fn insert(db: &Connection, rows: &[&Row<Self>]) -> rusqlite::Result<usize> {
        let mut insert =
            db.prepare_cached("INSERT INTO counters VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING")?;
        let rows = rows.iter().map(|Row { value, version, created_at, updated_at }| {
            let (created_at, updated_at) = (created_at.as_microsecond(), updated_at.as_microsecond());
            insert.execute((&value.id, &value.status, value.n, version, created_at, updated_at))
        });
        rows.sum()
    }

    fn update(db: &Connection, rows: &[(&Row<Self>, u64)]) -> rusqlite::Result<usize> {
        let mut update = db.prepare_cached(
            "UPDATE counters SET status = ?2, n = ?3, version = ?4, updated_at = ?5 WHERE id = ?1 AND version = ?6",
        )?;
        let rows = rows.iter().map(|(Row { value, version, updated_at, .. }, expected)| {
            update.execute((&value.id, &value.status, value.n, version, updated_at.as_microsecond(), expected))
        });
        rows.sum()
    }

    fn remove(db: &Connection, ids: &[(&String, u64)]) -> rusqlite::Result<usize> {
        ids.iter().map(|row| db.execute("DELETE FROM counters WHERE id = ?1 AND version = ?2", *row)).sum()
    }

    fn page(db: &Connection, page: &Page) -> rusqlite::Result<Vec<Row<Self>>> {
        let status = page.filters.iter().find(|(field, _)| field == "status").map(|(_, value)| value);
        let mut statement = db.prepare_cached(
            "SELECT * FROM counters WHERE id > ?1 AND (?2 IS NULL OR status = ?2) ORDER BY id LIMIT ?3",
        )?;
        let rows = statement.query_map((page.after.as_deref().unwrap_or_default(), status, page.limit), counter)?;
        rows.collect()
    }
}

impl PostgresEntity for Counter {
    const MIGRATIONS: &'static [&'static str] = &[
        "CREATE TABLE counters (id text PRIMARY KEY, status text NOT NULL, n bigint NOT NULL CHECK (n >= 0))",
        "ALTER TABLE counters ADD COLUMN version bigint NOT NULL DEFAULT 1;
         ALTER TABLE counters ADD COLUMN created_at bigint NOT NULL DEFAULT 0;
         ALTER TABLE counters ADD COLUMN updated_at bigint NOT NULL DEFAULT 0;",
    ];
    const ID: &'static str = "id";

    async fn load(db: &Client, ids: &[String]) -> Result<Vec<Row<Self>>, PostgresError> {
        let statement = db.prepare_cached("SELECT * FROM counters WHERE id = ANY($1)").await?;
        db.query(&statement, &[&ids]).await?.iter().map(postgres_counter).collect()
    }

    async fn insert(db: &Client, rows: &[&Row<Self>]) -> Result<u64, PostgresError> {
        let statement = "INSERT INTO counters
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
             ON CONFLICT DO NOTHING";
        write(db, statement, rows).await
    }

    async fn update(db: &Client, rows: &[&Row<Self>]) -> Result<u64, PostgresError> {
        let statement = "UPDATE counters SET status = w.status, n = w.n, version = w.version, updated_at = w.updated_at
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
                 AS w (id, status, n, version, created_at, updated_at)
             WHERE counters.id = w.id";
        write(db, statement, rows).await
    }

    async fn remove(db: &Client, ids: &[String]) -> Result<u64, PostgresError> {
        Ok(db.execute("DELETE FROM counters WHERE id = ANY($1)", &[&ids]).await?)
    }

    async fn page(db: &Client, page: &Page) -> Result<Vec<Row<Self>>, PostgresError> {
        let status = page.filters.iter().find(|(field, _)| field == "status").map(|(_, value)| value);
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let found = db
            .query(
                "SELECT * FROM counters WHERE id COLLATE \"C\" > $1 AND ($2::text IS NULL OR status = $2)
                 ORDER BY id COLLATE \"C\" LIMIT $3",
                &[&page.after.as_deref().unwrap_or_default(), &status, &limit],
            )
            .await?;
        found.iter().map(postgres_counter).collect()
    }
}

async fn write(db: &Client, statement: &str, rows: &[&Row<Counter>]) -> Result<u64, PostgresError> {
    let number = |number: u64| i64::try_from(number).expect("small");
    let ids: Vec<&str> = rows.iter().map(|row| &*row.value.id).collect();
    let statuses: Vec<&str> = rows.iter().map(|row| &*row.value.status).collect();
    let numbers: Vec<i64> = rows.iter().map(|row| row.value.n).collect();
    let versions: Vec<i64> = rows.iter().map(|row| number(row.version)).collect();
    let created: Vec<i64> = rows.iter().map(|row| row.created_at.as_microsecond()).collect();
    let updated: Vec<i64> = rows.iter().map(|row| row.updated_at.as_microsecond()).collect();
    let statement = db.prepare_cached(statement).await?;
    Ok(db.execute(&statement, &[&ids, &statuses, &numbers, &versions, &created, &updated]).await?)
}

fn postgres_counter(row: &tokio_postgres::Row) -> Result<Row<Counter>, PostgresError> {
    let time = |column| Ok::<_, PostgresError>(Timestamp::from_microsecond(row.try_get(column)?).expect("a time"));
    Ok(Row {
        value: Counter { id: row.try_get(0)?, status: row.try_get(1)?, n: row.try_get(2)? },
        version: row.try_get::<_, i64>(3)?.unsigned_abs(),
        created_at: time(4)?,
        updated_at: time(5)?,
    })
}

pub(crate) fn entity() -> EntityType {
    EntityType::of::<Counter>()
}

pub(crate) fn sqlite(path: &Path) -> SqliteStore {
    SqliteStore::open(path, &[entity()], Mode::Run).expect("a store that opens")
}

pub(crate) fn partition(number: i32) -> PartitionId {
    PartitionId { cluster: "cluster".into(), topic_id: Uuid::from_u128(7), topic: "events".into(), partition: number }
}

/// Changes that only move the position, from `from` to the next offset.
pub(crate) fn step(partition: &PartitionId, from: i64, revision: i64) -> Changes {
    Changes::of_position(partition.clone(), revision, from, from + 1)
}

pub(crate) fn counter_change(id: &str, n: i64, expected: u64) -> Change<Counter> {
    Change::Put { row: counter_row(id, n, expected), expected }
}

/// The row of a counter whose version was `before`.
pub(crate) fn counter_row(id: &str, n: i64, before: u64) -> Row<Counter> {
    Row {
        value: Counter { id: id.into(), status: if n % 2 == 0 { "even" } else { "odd" }.into(), n },
        version: before + 1,
        created_at: at(1),
        updated_at: at(n),
    }
}

/// Bytes without a pattern, so that compression cannot bring them below a limit.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let byte = |_| {
        // Knuth's linear congruential generator (MMIX), whose upper bits are the random ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(byte).collect()
}

/// A time, in seconds since the epoch.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

impl Changes {
    pub(crate) fn writing(mut self, changes: Vec<Change<Counter>>) -> Self {
        self.entities.push((entity(), Arc::new(changes)));
        self
    }

    pub(crate) fn reading(mut self, id: &str, version: u64) -> Self {
        self.reads.push((entity(), Arc::new(vec![(id.to_owned(), version)])));
        self
    }

    pub(crate) fn window(mut self, key: &str, version: u64, bytes: &[u8]) -> Self {
        self.windows.push(DedupRow { key: key.into(), version, bytes: bytes.to_vec() });
        self
    }
}

/// A waiting event with every field set.
pub(crate) fn waiting(offset: i64) -> WaitingRow {
    WaitingRow {
        offset,
        queue: b"lane".to_vec(),
        state: WaitingState::Retry,
        attempts: 3,
        since: Timestamp::new(1_700_000_000, 123_456_789).expect("a time"),
        first_failed_at: Some(at(1_700_000_001)),
        due: at(1_700_000_002),
        error_code: "busy".into(),
        error_message: "try \0 again".into(),
        key: Some(b"\xff\x00key".to_vec()),
        payload: Some(b"{\"a\": 1}\x00\xfe".to_vec()),
        headers: b"\x01\x00\x00\x00h\xff\xff\xff\xff".to_vec(),
        timestamp: Some(-1),
    }
}

/// Commits the changes of one partition.
pub(crate) async fn commit(store: &impl Store, changes: Changes) -> Committed {
    let mut answers = store.commit(vec![Arc::new(changes)]).await.expect("a commit whose outcome is known");
    assert_eq!(answers.len(), 1, "one answer for each element");
    answers.remove(0)
}

/// Begins partition `number` at offset 0, revision 0.
pub(crate) async fn begun(store: &impl Store, number: i32) -> PartitionId {
    let partition = partition(number);
    let assigned = store.begin(&partition, 0).await.expect("a first position");
    assert_eq!((assigned.next_offset, assigned.revision), (0, 0));
    partition
}

/// The outbox rows that this instance is to publish.
pub(crate) async fn outbox(store: &(impl Store + ?Sized), after: i64, limit: usize) -> Vec<OutboxRow> {
    match store.outbox(after, limit).await.expect("a readable store") {
        Outbox::Rows(rows) => rows,
        Outbox::Elsewhere(size) => panic!("another instance publishes {size:?}"),
    }
}

/// The stored position and revision.
pub(crate) async fn place(store: &impl Store, partition: &PartitionId) -> (i64, i64) {
    let known = store.reload(partition).await.expect("a readable store").expect("a known partition");
    (known.next_offset, known.revision)
}

/// The counters of these ids, in the order of ids.
pub(crate) async fn counters(store: &impl Store, ids: &[&str]) -> Vec<Row<Counter>> {
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let wanted = Load { entities: vec![(entity(), Box::new(ids))], ..Load::default() };
    let mut loaded = store.load(wanted).await.expect("a readable store");
    let mut rows = *loaded.entities.remove(0).downcast::<Vec<Row<Counter>>>().expect("rows of the asked type");
    rows.sort_by(|a, b| a.value.id.cmp(&b.value.id));
    rows
}

/// Identities and numbers of the counters, in the order of ids.
pub(crate) async fn numbers(store: &impl Store, ids: &[&str]) -> Vec<(String, i64)> {
    counters(store, ids).await.into_iter().map(|row| (row.value.id, row.value.n)).collect()
}
