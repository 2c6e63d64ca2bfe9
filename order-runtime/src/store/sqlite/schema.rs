//! The schema: the runtime's own tables and those of the entities, each migrated to its latest version.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::error::opening;
use crate::store::{EntityType, StoreError, table::Migrations};

/// Marks a file as a store of this runtime ("ordr"), so that another program's database is never written to.
const APPLICATION_ID: i32 = 0x6f72_6472;

/// The runtime's own migrations, oldest first; never change one that was released.
const MIGRATIONS: &[&str] = &[
    // `positions` gives each partition a small number, which keeps the rows that refer to it narrow.
    "
    CREATE TABLE store (
        only_row       INTEGER PRIMARY KEY CHECK (only_row = 1),
        uuid           TEXT NOT NULL,
        consumer_group TEXT NOT NULL,
        pings          INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE positions (
        id          INTEGER PRIMARY KEY,
        cluster     TEXT NOT NULL,
        topic_id    TEXT NOT NULL,
        topic       TEXT NOT NULL,
        partition   INTEGER NOT NULL,
        next_offset INTEGER NOT NULL,
        revision    INTEGER NOT NULL,
        starts      INTEGER NOT NULL,
        UNIQUE (cluster, topic_id, topic, partition)
    ) STRICT;

    CREATE TABLE rings (
        key     BLOB PRIMARY KEY,
        version INTEGER NOT NULL,
        bytes   BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Times are nanoseconds since the epoch, but for the timestamp, which is the record's own in milliseconds.
    CREATE TABLE waiting (
        position        INTEGER NOT NULL REFERENCES positions (id),
        record_offset   INTEGER NOT NULL,
        lane            BLOB NOT NULL,
        state           TEXT NOT NULL,
        attempts        INTEGER NOT NULL,
        since           INTEGER NOT NULL,
        first_failed_at INTEGER,
        due             INTEGER NOT NULL,
        error_code      TEXT NOT NULL,
        error_message   TEXT NOT NULL,
        key             BLOB,
        payload         BLOB,
        headers         BLOB NOT NULL,
        timestamp       INTEGER,
        PRIMARY KEY (position, record_offset)
    ) STRICT, WITHOUT ROWID;

    -- AUTOINCREMENT: a number is never used again, so that a reader's place stays right when the table runs empty.
    CREATE TABLE outbox (
        id            INTEGER PRIMARY KEY AUTOINCREMENT,
        position      INTEGER NOT NULL REFERENCES positions (id),
        source_offset INTEGER NOT NULL,
        topic         TEXT NOT NULL,
        partition     INTEGER,
        key           BLOB,
        payload       BLOB,
        headers       BLOB NOT NULL,
        timestamp     INTEGER
    ) STRICT;

    CREATE TABLE dead_letters (
        dlq_id   TEXT PRIMARY KEY,
        event_id TEXT NOT NULL,
        hash     BLOB NOT NULL,
        replays  INTEGER NOT NULL,
        reason   TEXT NOT NULL,
        code     TEXT NOT NULL,
        at       INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    ",
    // Events that may have killed the process, and the time at which a deduplication window was last written, in seconds since
    // the epoch.
    "
    ALTER TABLE positions ADD COLUMN suspect INTEGER;
    ALTER TABLE positions ADD COLUMN suspected INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE rings ADD COLUMN written INTEGER NOT NULL DEFAULT 0;
    UPDATE rings SET written = unixepoch();
    ",
    // Operators' actions on dead letters.
    "
    CREATE TABLE letter_marks (
        dlq_id  TEXT NOT NULL,
        replays INTEGER NOT NULL,
        state   TEXT NOT NULL,
        note    TEXT NOT NULL,
        actor   TEXT NOT NULL,
        at      INTEGER NOT NULL,
        PRIMARY KEY (dlq_id, replays)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE audit (
        id        TEXT PRIMARY KEY,
        at        INTEGER NOT NULL,
        actor     TEXT NOT NULL,
        action    TEXT NOT NULL,
        letters   INTEGER NOT NULL,
        selection TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    ",
    // Events that may have killed an owner of their partition, counted for each event.
    "
    CREATE TABLE suspects (
        position      INTEGER NOT NULL REFERENCES positions (id),
        record_offset INTEGER NOT NULL,
        running       INTEGER NOT NULL,
        alone         INTEGER NOT NULL,
        runs_alone    INTEGER NOT NULL,
        PRIMARY KEY (position, record_offset)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO suspects SELECT id, suspect, 0, suspected, FALSE FROM positions WHERE suspect IS NOT NULL;

    ALTER TABLE positions DROP COLUMN suspect;
    ALTER TABLE positions DROP COLUMN suspected;
    ALTER TABLE positions ADD COLUMN assignment INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE positions ADD COLUMN owned INTEGER NOT NULL DEFAULT 0;
    ",
];

/// Refuses two entity types with the same name, because the migrations of a type are counted under its name.
pub(super) fn check_names(entities: &[EntityType]) -> Result<(), StoreError> {
    for (index, entity) in entities.iter().enumerate() {
        if entities[..index].iter().any(|earlier| earlier.name == entity.name) {
            let name = entity.name;
            return Err(StoreError::Unusable(format!("two entity types are called {name}; rename one")));
        }
    }
    Ok(())
}

/// Migrates the database to this program's schema, in one transaction.
pub(super) fn migrate(db: &mut Connection, path: &Path, entities: &[EntityType]) -> Result<(), StoreError> {
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
    check_application(&transaction, path)?;
    for (owner, migrations) in owners(entities) {
        let version = version(&transaction, &owner).map_err(at_path)?;
        if version > migrations.version {
            return Err(newer(path, &owner, version, migrations.version));
        }
        if version == migrations.version {
            continue;
        }
        for migration in migrations.from(version) {
            transaction.execute_batch(&migration).map_err(at_path)?;
        }
        transaction
            .execute(
                "INSERT INTO migrations (owner, version) VALUES (?1, ?2)
                 ON CONFLICT (owner) DO UPDATE SET version = excluded.version",
                (&owner, migrations.version),
            )
            .map_err(at_path)?;
    }
    transaction.commit().map_err(at_path)
}

/// Refuses a database whose schema is not exactly this program's schema.
pub(super) fn check(db: &Connection, path: &Path, entities: &[EntityType]) -> Result<(), StoreError> {
    let at_path = |error| opening(path, error);
    if is_empty(db).map_err(at_path)? {
        return Err(older(path));
    }
    check_application(db, path)?;
    for (owner, migrations) in owners(entities) {
        let version = version(db, &owner).map_err(at_path)?;
        if version > migrations.version {
            return Err(newer(path, &owner, version, migrations.version));
        }
        if version < migrations.version {
            return Err(older(path));
        }
    }
    Ok(())
}

fn owners(entities: &[EntityType]) -> impl Iterator<Item = (String, Migrations)> {
    let own = ("runtime".to_owned(), Migrations::of_list(MIGRATIONS));
    let entities = entities.iter().map(|entity| {
        let table = entity.sqlite;
        (format!("entity {}", entity.name), Migrations::new(table.schema_version(), |from| table.migration(from)))
    });
    std::iter::once(own).chain(entities)
}

fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

fn check_application(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let application: i32 =
        db.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(|error| opening(path, error))?;
    if application == APPLICATION_ID {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "{} is the database of another program; set STORE_URL to a file of its own",
        path.display()
    )))
}

fn version(db: &Connection, owner: &str) -> rusqlite::Result<usize> {
    let version =
        db.query_row("SELECT version FROM migrations WHERE owner = ?1", [owner], |row| row.get(0)).optional()?;
    Ok(version.unwrap_or(0))
}

fn newer(path: &Path, owner: &str, found: usize, known: usize) -> StoreError {
    StoreError::Unusable(format!(
        "{} was written by a newer release (schema version {found} of {owner}, this one knows {known}); run that release",
        path.display()
    ))
}

fn older(path: &Path) -> StoreError {
    StoreError::Unusable(format!("{} does not have this release's schema yet; run the service once", path.display()))
}
