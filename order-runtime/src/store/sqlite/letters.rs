//! Marks on dead letters, and the audit of operators' actions.

use rusqlite::{Connection, Row, TransactionBehavior, types::Type};
use uuid::Uuid;

use super::rows::time;
use crate::store::{
    AuditRow, LetterMark, MarkState, StoreError,
    columns::{nanoseconds, row_limit},
};

pub(super) fn mark(db: &mut Connection, entry: &AuditRow, marks: &[LetterMark]) -> Result<(), StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .prepare_cached(
            "INSERT INTO audit (id, at, actor, action, letters, selection) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET letters = letters + excluded.letters",
        )?
        .execute((
            entry.id.to_string(),
            nanoseconds(entry.at),
            &entry.by,
            &entry.action,
            entry.letters,
            &entry.selection,
        ))?;
    {
        let mut take = transaction.prepare_cached("DELETE FROM letter_marks WHERE dlq_id = ?1 AND replays = ?2")?;
        let mut write = transaction.prepare_cached(
            "INSERT OR REPLACE INTO letter_marks (dlq_id, replays, state, note, actor, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for mark in marks {
            if mark.state == MarkState::Open {
                take.execute((&mark.dlq_id, mark.replays))?;
            } else {
                let state = mark.state.as_str();
                write.execute((&mark.dlq_id, mark.replays, state, &mark.note, &mark.by, nanoseconds(mark.at)))?;
            }
        }
    }
    Ok(transaction.commit()?)
}

pub(super) fn marks(db: &mut Connection, ids: &[String]) -> Result<Vec<LetterMark>, StoreError> {
    let snapshot = db.transaction()?;
    let mut statement = snapshot
        .prepare_cached("SELECT dlq_id, replays, state, note, actor, at FROM letter_marks WHERE dlq_id = ?1")?;
    let mut found = Vec::new();
    for id in ids {
        for mark in statement.query_map([id], letter_mark)? {
            found.push(mark?);
        }
    }
    Ok(found)
}

pub(super) fn audit(db: &Connection, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT id, at, actor, action, letters, selection FROM audit ORDER BY at DESC, id LIMIT ?1")?;
    let rows = statement.query_map([row_limit(limit)], audit_row)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn letter_mark(row: &Row<'_>) -> rusqlite::Result<LetterMark> {
    let state: String = row.get(2)?;
    Ok(LetterMark {
        dlq_id: row.get(0)?,
        replays: row.get(1)?,
        state: MarkState::of(&state)
            .ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, "not a letter state".into()))?,
        note: row.get(3)?,
        by: row.get(4)?,
        at: time(row, 5)?,
    })
}

fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let id: String = row.get(0)?;
    Ok(AuditRow {
        id: Uuid::parse_str(&id)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))?,
        at: time(row, 1)?,
        by: row.get(2)?,
        action: row.get(3)?,
        letters: row.get(4)?,
        selection: row.get(5)?,
    })
}
