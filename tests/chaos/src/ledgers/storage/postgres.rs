//! Storage of ledgers in PostgreSQL.

use std::time::SystemTime;

use jiff::Timestamp;
use order_runtime::store::{
    Page, Row,
    postgres::{Client, PostgresEntity, PostgresError, tokio_postgres},
};

use crate::ledgers::entities::ledger::Ledger;

impl PostgresEntity for Ledger {
    const MIGRATIONS: &'static [&'static str] = &["CREATE TABLE ledgers (
            ledger_id text PRIMARY KEY,
            applied text NOT NULL CHECK (applied NOT LIKE '%4294967295%'),
            version bigint NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL
        )"];
    const TABLE: &'static str = "ledgers";
    const ID: &'static str = "ledger_id";

    async fn load(db: &Client, ids: &[String]) -> Result<Vec<Row<Self>>, PostgresError> {
        let statement = db.prepare_cached("SELECT * FROM ledgers WHERE ledger_id = ANY($1)").await?;
        db.query(&statement, &[&ids]).await?.iter().map(ledger).collect()
    }

    async fn insert(db: &Client, rows: &[&Row<Self>]) -> Result<u64, PostgresError> {
        let Columns { ids, applied, versions, updated } = columns(rows)?;
        let created = times(rows, |row| row.created_at)?;
        let statement = db
            .prepare_cached(
                "INSERT INTO ledgers
                 SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[])
                 ON CONFLICT DO NOTHING",
            )
            .await?;
        Ok(db.execute(&statement, &[&ids, &applied, &versions, &created, &updated]).await?)
    }

    async fn update(db: &Client, rows: &[&Row<Self>]) -> Result<u64, PostgresError> {
        let Columns { ids, applied, versions, updated } = columns(rows)?;
        let statement = db
            .prepare_cached(
                "UPDATE ledgers
                 SET applied = changed.applied, version = changed.version, updated_at = changed.updated_at
                 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[])
                     AS changed (ledger_id, applied, version, updated_at)
                 WHERE ledgers.ledger_id = changed.ledger_id",
            )
            .await?;
        Ok(db.execute(&statement, &[&ids, &applied, &versions, &updated]).await?)
    }

    async fn page(db: &Client, page: &Page) -> Result<Vec<Row<Self>>, PostgresError> {
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let statement = db
            .prepare_cached(
                "SELECT * FROM ledgers WHERE ledger_id COLLATE \"C\" > $1 ORDER BY ledger_id COLLATE \"C\" LIMIT $2",
            )
            .await?;
        let found = db.query(&statement, &[&page.after.as_deref().unwrap_or_default(), &limit]).await?;
        found.iter().map(ledger).collect()
    }
}

/// The values that inserts and updates write, by column.
struct Columns<'a> {
    ids: Vec<&'a str>,
    applied: Vec<String>,
    versions: Vec<i64>,
    updated: Vec<SystemTime>,
}

fn columns<'a>(rows: &[&'a Row<Ledger>]) -> Result<Columns<'a>, PostgresError> {
    let versions = rows.iter().map(|row| i64::try_from(row.version).map_err(PostgresError::data));
    Ok(Columns {
        ids: rows.iter().map(|row| row.value.ledger_id.as_str()).collect(),
        applied: rows.iter().map(|row| row.value.text()).collect(),
        versions: versions.collect::<Result<_, _>>()?,
        updated: times(rows, |row| row.updated_at)?,
    })
}

fn times(rows: &[&Row<Ledger>], of: fn(&Row<Ledger>) -> Timestamp) -> Result<Vec<SystemTime>, PostgresError> {
    rows.iter().map(|row| SystemTime::try_from(of(row)).map_err(PostgresError::data)).collect()
}

fn ledger(row: &tokio_postgres::Row) -> Result<Row<Ledger>, PostgresError> {
    let version: i64 = row.try_get(2)?;
    Ok(Row {
        value: Ledger::from_text(row.try_get(0)?, row.try_get(1)?).map_err(PostgresError::data)?,
        version: u64::try_from(version).map_err(PostgresError::data)?,
        created_at: time(row, 3)?,
        updated_at: time(row, 4)?,
    })
}

fn time(row: &tokio_postgres::Row, column: usize) -> Result<Timestamp, PostgresError> {
    Timestamp::try_from(row.try_get::<_, SystemTime>(column)?).map_err(PostgresError::data)
}
