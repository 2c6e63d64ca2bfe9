//! Reads and upgrades the schema of a file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::opening;
use crate::store::{
    StoreError,
    migrations::{COUNTS, Counts, Schema},
};

/// Marks a file as a store of this runtime ("ordr"), so that another program's database is never written to.
const APPLICATION_ID: i32 = 0x6f72_6472;

/// Upgrades the database to the schema, in one transaction.
pub(super) fn migrate(db: &mut Connection, path: &Path, schema: &Schema) -> Result<(), StoreError> {
    let at_path = |error| opening(path, error);
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(at_path)?;
    if is_empty(&transaction).map_err(at_path)? {
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(at_path)?;
        transaction
            .execute_batch(
                "CREATE TABLE migrations (owner TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID",
            )
            .map_err(at_path)?;
    }
    for statement in schema.upgrade(&path.display(), &counts(&transaction, path)?)? {
        transaction.execute_batch(&statement).map_err(at_path)?;
    }
    transaction.commit().map_err(at_path)
}

/// Refuses a database that does not have exactly this schema.
pub(super) fn require(db: &Connection, path: &Path, schema: &Schema) -> Result<(), StoreError> {
    schema.require(&path.display(), &counts(db, path)?)
}

/// Whether the database has this schema; false if its schema is older or missing. A newer schema is an error.
pub(super) fn is_current(db: &Connection, path: &Path, schema: &Schema) -> Result<bool, StoreError> {
    schema.is_current(&path.display(), &counts(db, path)?)
}

/// The counts of a store. An empty database has none; the database of another program is an error.
fn counts(db: &Connection, path: &Path) -> Result<Counts, StoreError> {
    let at_path = |error| opening(path, error);
    if is_empty(db).map_err(at_path)? {
        return Ok(Counts::new());
    }
    let application: i32 = db.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(at_path)?;
    if application != APPLICATION_ID {
        return Err(StoreError::Unusable(format!(
            "{} is the database of another program; set STORE_URL to a file of its own",
            path.display()
        )));
    }
    let mut statement = db.prepare(COUNTS).map_err(at_path)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(at_path)?;
    rows.collect::<rusqlite::Result<_>>().map_err(at_path)
}

fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}
