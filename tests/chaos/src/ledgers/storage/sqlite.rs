//! Storage of ledgers in SQLite.

use jiff::Timestamp;
use order_runtime::store::{
    Change, Page, Row,
    sqlite::{SqliteEntity, keys},
};
use rusqlite::{Connection, Error, named_params, types::Type};

use crate::ledgers::entities::ledger::Ledger;

impl SqliteEntity for Ledger {
    const MIGRATIONS: &'static [&'static str] = &["CREATE TABLE ledgers (
            ledger_id TEXT PRIMARY KEY,
            applied TEXT NOT NULL CHECK (applied NOT LIKE '%4294967295%'),
            version INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID"];

    fn load(db: &Connection, ids: &[String]) -> rusqlite::Result<Vec<Row<Self>>> {
        let mut statement = db.prepare_cached(
            "SELECT ledgers.* FROM rarray(?1) AS wanted CROSS JOIN ledgers ON ledger_id = wanted.value",
        )?;
        statement.query_map([keys(ids.iter().cloned())], ledger)?.collect()
    }

    fn insert(db: &Connection, rows: &[&Row<Self>]) -> rusqlite::Result<usize> {
        let mut insert = db.prepare_cached(
            "INSERT INTO ledgers VALUES (:ledger_id, :applied, :version, :created_at, :updated_at)
             ON CONFLICT DO NOTHING",
        )?;
        let rows = rows.iter().map(|Row { value, version, created_at, updated_at }| {
            insert.execute(named_params! {
                ":ledger_id": value.ledger_id,
                ":applied": value.text(),
                ":version": version,
                ":created_at": created_at.as_microsecond(),
                ":updated_at": updated_at.as_microsecond(),
            })
        });
        rows.sum()
    }

    fn update(db: &Connection, changes: &[&Change<Self>]) -> rusqlite::Result<usize> {
        let mut update = db.prepare_cached(
            "UPDATE ledgers SET applied = :applied, version = :version, updated_at = :updated_at
             WHERE ledger_id = :ledger_id AND version = :expected",
        )?;
        let changes = changes.iter().map(|Change { row: Row { value, version, updated_at, .. }, expected }| {
            update.execute(named_params! {
                ":ledger_id": value.ledger_id,
                ":applied": value.text(),
                ":version": version,
                ":updated_at": updated_at.as_microsecond(),
                ":expected": expected,
            })
        });
        changes.sum()
    }

    fn page(db: &Connection, page: &Page) -> rusqlite::Result<Vec<Row<Self>>> {
        let mut statement =
            db.prepare_cached("SELECT * FROM ledgers WHERE ledger_id > :after ORDER BY ledger_id LIMIT :limit")?;
        let after = page.after.as_deref().unwrap_or_default();
        statement.query_map(named_params! {":after": after, ":limit": page.limit}, ledger)?.collect()
    }
}

fn ledger(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row<Ledger>> {
    let value = Ledger::from_text(row.get(0)?, &row.get::<_, String>(1)?).map_err(|error| unreadable(1, error))?;
    Ok(Row { value, version: row.get(2)?, created_at: time(row, 3)?, updated_at: time(row, 4)? })
}

fn time(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
