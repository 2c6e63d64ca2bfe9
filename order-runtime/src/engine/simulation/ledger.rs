//! The entity of the simulation: it remembers which events were applied to it.

use std::any::TypeId;

use jiff::Timestamp;
use serde::Serialize;

use crate::store::{
    Change, Changes, Entity, EntityType, Page, Row,
    conformance::fixture,
    loaded::new_set,
    memory::new_table,
    sqlite::{SqliteEntity, Table, keys, rusqlite},
};

/// The events that were applied to one entity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Ledger {
    pub(super) id: String,
    /// The numbers of the applied events of its key, in the order in which they were applied.
    pub(super) applied: Vec<u32>,
    /// How often events have changed it as their second entity.
    pub(super) touched: u32,
    /// The store must refuse a ledger for which this is set.
    pub(super) refused: bool,
}

impl Entity for Ledger {
    type Id = String;
    const TABLE: &'static str = "ledgers";

    fn id(&self) -> &String {
        &self.id
    }
}

/// The entity type of ledgers. Ledgers are not stored in PostgreSQL, so the PostgreSQL part is that of another entity.
pub(super) fn entity() -> EntityType {
    EntityType {
        name: "Ledger",
        table: "ledgers",
        type_id: TypeId::of::<Ledger>(),
        filters: &[],
        ids_of_keys: |keys| {
            let ids: Vec<String> = keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            Box::new(ids)
        },
        new_set: new_set::<Ledger>,
        memory: new_table::<Ledger>,
        sqlite: const { &Table::<Ledger>::NEW },
        ..fixture::entity()
    }
}

/// Whether the changes contain a ledger that a store must refuse.
pub(super) fn must_be_refused(changes: &Changes) -> bool {
    let is_refused = |change: &Change<Ledger>| change.row().is_some_and(|row| row.value.refused);
    changes
        .entities
        .iter()
        .filter_map(|(_, rows)| rows.downcast_ref::<Vec<Change<Ledger>>>())
        .any(|rows| rows.iter().any(is_refused))
}

impl SqliteEntity for Ledger {
    const MIGRATIONS: &'static [&'static str] = &["CREATE TABLE ledgers (
            id         TEXT PRIMARY KEY,
            applied    TEXT NOT NULL,
            touched    INTEGER NOT NULL,
            refused    INTEGER NOT NULL CHECK (refused = 0),
            version    INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL
        ) STRICT"];

    fn load(db: &rusqlite::Connection, ids: &[String]) -> rusqlite::Result<Vec<Row<Self>>> {
        let mut statement =
            db.prepare_cached("SELECT ledgers.* FROM rarray(?1) AS wanted CROSS JOIN ledgers ON id = wanted.value")?;
        statement.query_map([keys(ids.iter().cloned())], ledger)?.collect()
    }

    fn insert(db: &rusqlite::Connection, rows: &[&Row<Self>]) -> rusqlite::Result<usize> {
        let mut insert =
            db.prepare_cached("INSERT INTO ledgers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING")?;
        let inserted = rows.iter().map(|Row { value, version, created_at, updated_at }| {
            insert.execute((
                &value.id,
                text(&value.applied),
                value.touched,
                value.refused,
                version,
                created_at.as_microsecond(),
                updated_at.as_microsecond(),
            ))
        });
        inserted.sum()
    }

    fn update(db: &rusqlite::Connection, rows: &[(&Row<Self>, u64)]) -> rusqlite::Result<usize> {
        let mut update = db.prepare_cached(
            "UPDATE ledgers SET applied = ?2, touched = ?3, refused = ?4, version = ?5, updated_at = ?6
             WHERE id = ?1 AND version = ?7",
        )?;
        let updated = rows.iter().map(|(Row { value, version, updated_at, .. }, expected)| {
            update.execute((
                &value.id,
                text(&value.applied),
                value.touched,
                value.refused,
                version,
                updated_at.as_microsecond(),
                expected,
            ))
        });
        updated.sum()
    }

    fn remove(db: &rusqlite::Connection, ids: &[(&String, u64)]) -> rusqlite::Result<usize> {
        ids.iter().map(|row| db.execute("DELETE FROM ledgers WHERE id = ?1 AND version = ?2", *row)).sum()
    }

    fn page(_: &rusqlite::Connection, _: &Page) -> rusqlite::Result<Vec<Row<Self>>> {
        Ok(Vec::new())
    }
}

fn ledger(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row<Ledger>> {
    let time = |column| Ok::<_, rusqlite::Error>(Timestamp::from_microsecond(row.get(column)?).expect("a time"));
    let applied: String = row.get(1)?;
    let applied = applied.split_terminator(' ').map(|number| number.parse().expect("a number"));
    Ok(Row {
        value: Ledger { id: row.get(0)?, applied: applied.collect(), touched: row.get(2)?, refused: row.get(3)? },
        version: row.get(4)?,
        created_at: time(5)?,
        updated_at: time(6)?,
    })
}

fn text(numbers: &[u32]) -> String {
    numbers.iter().map(|number| format!("{number} ")).collect::<Vec<_>>().concat()
}
