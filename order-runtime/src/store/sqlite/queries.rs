//! Reads for batches, the relay and the read model, and the deletion of old rows.

use std::any::Any;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};

use super::rows::{self, OUTBOX_COLUMNS};
use crate::{
    model::DeadLetterId,
    store::{
        DeadLetterRow, DedupRow, Load, Loaded, OutboxRow, StoreError,
        columns::{nanoseconds, row_limit},
    },
};

pub(super) fn load(db: &mut Connection, wanted: Load) -> Result<Loaded, StoreError> {
    let snapshot = db.transaction()?;
    let mut loaded = Loaded::default();
    for (entity, ids) in &wanted.entities {
        let ids: &(dyn Any + Send) = ids.as_ref();
        loaded.entities.push(entity.sqlite.load(&snapshot, ids)?);
    }
    loaded.windows = windows(&snapshot, wanted.windows)?;
    loaded.dead_letters = dead_letters(&snapshot, &wanted.dead_letters)?;
    Ok(loaded)
}

fn windows(db: &Connection, mut keys: Vec<Vec<u8>>) -> rusqlite::Result<Vec<DedupRow>> {
    // Sorted, so that neighbours in the tree are read one after the other.
    keys.sort_unstable();
    keys.dedup();
    let mut statement = db.prepare_cached(
        "SELECT key, version, bytes FROM rarray(?1) AS wanted CROSS JOIN rings ON key = wanted.value",
    )?;
    let window = |row: &Row<'_>| Ok(DedupRow { key: row.get(0)?, version: row.get(1)?, bytes: row.get(2)? });
    statement.query_map([super::keys(keys)], window)?.collect()
}

fn dead_letters(db: &Connection, ids: &[DeadLetterId]) -> rusqlite::Result<Vec<DeadLetterRow>> {
    let mut statement = db.prepare_cached(
        "SELECT dlq_id, event_id, hash, replays, reason, code, at FROM dead_letters WHERE dlq_id = ?1",
    )?;
    let mut found = Vec::new();
    for id in ids {
        found.extend(statement.query_row([&*id.digits()], rows::dead_letter).optional()?);
    }
    Ok(found)
}

pub(super) fn window(db: &Connection, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = db.prepare_cached("SELECT bytes FROM rings WHERE key = ?1")?.query_row([key], |row| row.get(0));
    Ok(bytes.optional()?)
}

pub(super) fn outbox(db: &Connection, after: i64, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
    let mut statement =
        db.prepare_cached(&format!("SELECT {OUTBOX_COLUMNS} FROM outbox WHERE id > ?1 ORDER BY id LIMIT ?2"))?;
    let found = statement.query_map((after, row_limit(limit)), rows::outbox)?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn published(db: &mut Connection, ids: &[i64]) -> Result<(), StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut delete = transaction.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
        for id in ids {
            delete.execute([id])?;
        }
    }
    Ok(transaction.commit()?)
}

/// Number of deduplication windows that one call of [`forget`] checks.
const LOOKED_AT: i64 = 5_000;

pub(super) fn forget(db: &mut Connection, until: Timestamp, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Goes through the keys in their order. An index on times would have to be updated by every event.
    let last: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT key FROM rings WHERE key > ?1 ORDER BY key LIMIT 1 OFFSET ?2")?
        .query_row((from, LOOKED_AT), |row| row.get(0))
        .optional()?;
    transaction
        .prepare_cached("DELETE FROM rings WHERE key > ?1 AND (?2 IS NULL OR key <= ?2) AND written < ?3")?
        .execute((from, &last, until.as_second()))?;
    if last.is_none() {
        for table in ["dead_letters", "letter_marks", "audit"] {
            let delete = format!("DELETE FROM {table} WHERE at < ?1");
            transaction.prepare_cached(&delete)?.execute([nanoseconds(until)])?;
        }
    }
    transaction.commit()?;
    Ok(last)
}

/// Checks that a write transaction can commit; only this detects a full disk. The number must change, because SQLite does not
/// write a page for a row that stays the same.
pub(super) fn ping(db: &mut Connection) -> Result<(), StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE store SET pings = pings + 1", [])?;
    Ok(transaction.commit()?)
}
