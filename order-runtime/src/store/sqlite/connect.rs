//! Opens connections, with their settings.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{error::opening, file, schema};
use crate::store::{StoreError, migrations::Schema};

/// How long a statement waits for a lock that another process holds before the store counts as unavailable.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Enough for the runtime's statements and those of several entities. With the default of 16, they would be prepared again and
/// again.
const CACHED_STATEMENTS: usize = 128;

/// Opens the connection that writes, and brings the schema up to date.
pub(super) fn writer(path: &Path, schema: &Schema) -> Result<Connection, StoreError> {
    let at_path = |error| opening(path, error);
    let mut db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(at_path)?;
    // Set before the first write, because the file keeps its page size. A deduplication window of more than a thousand bytes
    // does not fit into a leaf of SQLite's default of 4 KiB, and would take pages of its own.
    db.pragma_update(None, "page_size", 8_192).map_err(at_path)?;
    let journal: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(at_path)?;
    if !journal.eq_ignore_ascii_case("wal") {
        return Err(StoreError::Unusable(format!(
            "the file system of {} does not support write-ahead logging; set STORE_URL to a file on a local disk",
            path.display()
        )));
    }
    // With NORMAL, a power failure may lose the last commits, although Kafka's committed offsets have moved past them.
    db.pragma_update(None, "synchronous", "FULL").map_err(at_path)?;
    // 64 MiB, in KiB, for the pages of the keys in use, so that a batch of random keys is not read from the file.
    db.pragma_update(None, "cache_size", -65_536).map_err(at_path)?;
    let pragma = |name: &str, value: i64| db.pragma_update_and_check(None, name, value, |_| Ok(()));
    // 64 MiB of pages, so that a page that many batches have changed is copied into the main file once. One large batch fills
    // SQLite's default of a thousand pages; every batch would then be copied at once, for a quarter more CPU time in total.
    pragma("wal_autocheckpoint", 8_000).map_err(at_path)?;
    // A log that a burst has made longer is truncated to this size.
    pragma("journal_size_limit", 128 * 1024 * 1024).map_err(at_path)?;
    db.pragma_update(None, "foreign_keys", true).map_err(at_path)?;
    schema::migrate(&mut db, path, schema)?;
    Ok(db)
}

/// Opens a connection that writes beside the service's own.
pub(super) fn guest(path: &Path, schema: &Schema) -> Result<Connection, StoreError> {
    let db = checked(path, schema, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(|error| opening(path, error))?;
    db.pragma_update(None, "foreign_keys", true).map_err(|error| opening(path, error))?;
    Ok(db)
}

/// Opens a connection that reads.
pub(super) fn reader(path: &Path, schema: &Schema) -> Result<Connection, StoreError> {
    checked(path, schema, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Opens two connections to a new database in memory, which no other connection sees: a writer and a reader.
#[cfg(test)]
pub(super) fn in_memory(schema: &Schema) -> Result<(Connection, Connection), StoreError> {
    let path = PathBuf::from(format!("file:/{}?vfs=memdb", uuid::Uuid::new_v4()));
    let at_path = |error| opening(&path, error);
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI;
    let mut writer = connect(&path, access | OpenFlags::SQLITE_OPEN_CREATE).map_err(at_path)?;
    writer.pragma_update(None, "foreign_keys", true).map_err(at_path)?;
    schema::migrate(&mut writer, &path, schema)?;
    let reader = connect(&path, access).map_err(at_path)?;
    Ok((writer, reader))
}

/// Whether an existing store has this schema; false if its schema is older or missing. Changes nothing.
pub(super) fn is_current(path: &Path, schema: &Schema) -> Result<bool, StoreError> {
    let path = file::resolve(path)?;
    let db = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|error| opening(&path, error))?;
    schema::is_current(&db, &path, schema)
}

/// The only path of an existing store.
pub(super) fn existing(path: &Path) -> Result<PathBuf, StoreError> {
    if !path.exists() {
        return Err(StoreError::Unusable(format!(
            "{} does not exist; run the service once, or set STORE_URL to the file that it uses",
            path.display()
        )));
    }
    file::resolve(path)
}

fn checked(path: &Path, schema: &Schema, access: OpenFlags) -> Result<Connection, StoreError> {
    let db = connect(path, access).map_err(|error| opening(path, error))?;
    schema::require(&db, path, schema)?;
    Ok(db)
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // No URI, so that a path is never parsed as one. No mutex, because each connection stays on its own thread.
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    // Provides `rarray`, which reads `super::keys`.
    rusqlite::vtab::array::load_module(&db)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "trusted_schema", false)?;
    Ok(db)
}
