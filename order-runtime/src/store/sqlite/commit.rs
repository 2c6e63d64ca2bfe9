//! Applies the changes of several partitions in one transaction. Each partition's changes are applied or rejected
//! independently.

use std::{any::Any, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{
    rows::{insert_outbox, insert_waiting},
    worker::guarded,
};
use crate::store::{Changes, Committed, DeadLetterRow, DedupRow, StoreError, columns::nanoseconds};

/// Commits `changes`; see [`PartitionStore::commit`](crate::store::PartitionStore::commit).
pub(super) fn commit(db: &mut Connection, changes: &[Arc<Changes>]) -> Result<Vec<Committed>, StoreError> {
    let answers = commit_all(db, changes);
    if let Err(StoreError::Unavailable(_)) = answers {
        make_room(db);
    }
    answers
}

/// Checkpoints the write-ahead log into the main file, which may need no further space for it. On a full disk, the log can
/// then restart in the space that it already has, so that the next attempt succeeds.
fn make_room(db: &Connection) {
    if let Err(error) = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::debug!(%error, "failed to checkpoint the write-ahead log after a failed commit");
    }
}

fn commit_all(db: &mut Connection, changes: &[Arc<Changes>]) -> Result<Vec<Committed>, StoreError> {
    // A savepoint costs a copy of every page that is changed under it, and is rarely needed. The first attempt therefore has
    // none. Only if it fails, the second attempt separates the good changes from the bad ones.
    let transaction = begin(db)?;
    let mut answers = Vec::with_capacity(changes.len());
    for each in changes {
        let answer = judge(guarded(|| apply(&transaction, each)))?;
        let applied = matches!(answer, Committed::Applied { .. });
        answers.push(answer);
        if !applied {
            transaction.rollback()?;
            return if changes.len() == 1 { Ok(answers) } else { commit_each(db, changes) };
        }
    }
    transaction.commit()?;
    Ok(answers)
}

fn commit_each(db: &mut Connection, changes: &[Arc<Changes>]) -> Result<Vec<Committed>, StoreError> {
    let mut transaction = begin(db)?;
    let mut answers = Vec::with_capacity(changes.len());
    for each in changes {
        let savepoint = transaction.savepoint()?;
        let answer = judge(guarded(|| apply(&savepoint, each)))?;
        if matches!(answer, Committed::Applied { .. }) {
            savepoint.commit()?;
        } else {
            savepoint.finish()?;
        }
        answers.push(answer);
    }
    transaction.commit()?;
    Ok(answers)
}

fn begin(db: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    db.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Turns refused data into the answer of its own partition, so that it does not affect the others.
fn judge(applied: Result<Committed, StoreError>) -> Result<Committed, StoreError> {
    match applied {
        Err(StoreError::Refused(reason)) => Ok(Committed::Refused(reason)),
        other => other,
    }
}

fn apply(db: &Connection, changes: &Changes) -> Result<Committed, StoreError> {
    let Some(position) = advance(db, changes)? else {
        return Ok(Committed::Fenced);
    };
    for (entity, written) in &changes.entities {
        let written: &(dyn Any + Send + Sync) = written.as_ref();
        if !entity.sqlite.save(db, written)? {
            return Ok(Committed::Conflict);
        }
    }
    for (entity, read) in &changes.reads {
        let read: &(dyn Any + Send + Sync) = read.as_ref();
        if !entity.sqlite.unchanged(db, read)? {
            return Ok(Committed::Conflict);
        }
    }
    if !write_windows(db, &changes.windows)? || !release(db, position, &changes.released)? {
        return Ok(Committed::Conflict);
    }
    insert_waiting(db, position, &changes.waiting)?;
    insert_outbox(db, position, &changes.outbox)?;
    remember(db, &changes.dead_letters)?;
    clear(db, position, &changes.cleared)?;
    Ok(Committed::Applied { revision: changes.revision + 1 })
}

/// Moves the position and returns its id in this store; `None` if the offset or the revision is not the one that was read.
fn advance(db: &Connection, changes: &Changes) -> rusqlite::Result<Option<i64>> {
    let partition = &changes.partition;
    db.prepare_cached(
        "UPDATE positions SET next_offset = ?5, revision = revision + 1, starts = CASE WHEN ?8 THEN 0 ELSE starts END
         WHERE cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4 AND next_offset = ?6 AND revision = ?7
         RETURNING id",
    )?
    .query_row(
        (
            &partition.cluster,
            partition.topic_id.to_string(),
            &partition.topic,
            partition.partition,
            changes.to,
            changes.from,
            changes.revision,
            changes.proves,
        ),
        |row| row.get(0),
    )
    .optional()
}

/// Deletes suspects whose attempt has ended without killing the owner.
fn clear(db: &Connection, position: i64, offsets: &[i64]) -> rusqlite::Result<()> {
    if offsets.is_empty() {
        return Ok(());
    }
    let mut delete = db.prepare_cached("DELETE FROM suspects WHERE position = ?1 AND record_offset = ?2")?;
    for offset in offsets {
        delete.execute((position, offset))?;
    }
    Ok(())
}

fn write_windows(db: &Connection, windows: &[DedupRow]) -> rusqlite::Result<bool> {
    let now = jiff::Timestamp::now().as_second();
    let mut insert = db.prepare_cached(
        "INSERT INTO rings (key, version, bytes, written) VALUES (?1, 1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    let mut update = db.prepare_cached(
        "UPDATE rings SET version = version + 1, bytes = ?2, written = ?3 WHERE key = ?1 AND version = ?4",
    )?;
    for window in windows {
        let affected = match window.version {
            0 => insert.execute((&window.key, &window.bytes, now))?,
            version => update.execute((&window.key, &window.bytes, now, version))?,
        };
        if affected != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn release(db: &Connection, position: i64, offsets: &[i64]) -> rusqlite::Result<bool> {
    let mut delete = db.prepare_cached("DELETE FROM waiting WHERE position = ?1 AND record_offset = ?2")?;
    for offset in offsets {
        if delete.execute((position, offset))? != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remember(db: &Connection, dead_letters: &[Arc<DeadLetterRow>]) -> rusqlite::Result<()> {
    let mut upsert = db.prepare_cached(
        "INSERT OR REPLACE INTO dead_letters (dlq_id, event_id, hash, replays, reason, code, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for letter in dead_letters {
        upsert.execute((
            &*letter.dlq_id.digits(),
            &letter.event_id,
            letter.hash.to_be_bytes(),
            letter.replays,
            &letter.reason,
            &letter.code,
            nanoseconds(letter.at),
        ))?;
    }
    Ok(())
}
