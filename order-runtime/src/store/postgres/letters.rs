//! Marks on dead letters, and the audit of operators' actions.

use super::{Client, rows};
use crate::store::{
    AuditRow, LetterMark, MarkState, StoreError,
    columns::{nanoseconds, row_limit},
};

pub(super) async fn mark(db: &Client, entry: &AuditRow, marks: &[LetterMark]) -> Result<(), StoreError> {
    let (taken, written): (Vec<&LetterMark>, Vec<&LetterMark>) =
        marks.iter().partition(|mark| mark.state == MarkState::Open);
    // An error closes the connection, which rolls the transaction back.
    db.batch_execute("BEGIN").await?;
    let letters = i64::try_from(entry.letters).unwrap_or(i64::MAX);
    let statement = db
        .prepare_cached(
            "INSERT INTO audit AS known (id, at, actor, action, letters, selection) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (id) DO UPDATE SET letters = known.letters + excluded.letters",
        )
        .await?;
    let (by, selection) = (entry.by.as_bytes(), entry.selection.as_bytes());
    db.execute(&statement, &[&entry.id, &nanoseconds(entry.at), &by, &entry.action, &letters, &selection]).await?;
    if !taken.is_empty() {
        let (ids, replays) = letters_of(&taken);
        db.execute(
            "DELETE FROM letter_marks
             WHERE (dlq_id, replays) IN (SELECT * FROM unnest($1::bytea[], $2::bigint[]))",
            &[&ids, &replays],
        )
        .await?;
    }
    if !written.is_empty() {
        let (ids, replays) = letters_of(&written);
        let states: Vec<&str> = written.iter().map(|mark| mark.state.as_str()).collect();
        let notes: Vec<&[u8]> = written.iter().map(|mark| mark.note.as_bytes()).collect();
        let actors: Vec<&[u8]> = written.iter().map(|mark| mark.by.as_bytes()).collect();
        let times: Vec<i64> = written.iter().map(|mark| nanoseconds(mark.at)).collect();
        let statement = db
            .prepare_cached(
                "INSERT INTO letter_marks (dlq_id, replays, state, note, actor, at)
                 SELECT DISTINCT ON (1, 2) * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bytea[],
                     $5::bytea[], $6::bigint[])
                 ON CONFLICT (dlq_id, replays) DO UPDATE SET (state, note, actor, at)
                     = (excluded.state, excluded.note, excluded.actor, excluded.at)",
            )
            .await?;
        db.execute(&statement, &[&ids, &replays, &states, &notes, &actors, &times]).await?;
    }
    Ok(db.batch_execute("COMMIT").await?)
}

fn letters_of<'m>(marks: &[&'m LetterMark]) -> (Vec<&'m [u8]>, Vec<i64>) {
    marks.iter().map(|mark| (mark.dlq_id.as_bytes(), i64::from(mark.replays))).unzip()
}

pub(super) async fn marks(db: &Client, ids: &[String]) -> Result<Vec<LetterMark>, StoreError> {
    let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    let statement = db
        .prepare_cached("SELECT dlq_id, replays, state, note, actor, at FROM letter_marks WHERE dlq_id = ANY($1)")
        .await?;
    db.query(&statement, &[&ids]).await?.iter().map(letter_mark).collect()
}

pub(super) async fn audit(db: &Client, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
    let statement = db
        .prepare_cached("SELECT id, at, actor, action, letters, selection FROM audit ORDER BY at DESC, id LIMIT $1")
        .await?;
    db.query(&statement, &[&row_limit(limit)]).await?.iter().map(audit_row).collect()
}

fn letter_mark(row: &tokio_postgres::Row) -> Result<LetterMark, StoreError> {
    let state: &str = row.try_get(2)?;
    Ok(LetterMark {
        dlq_id: rows::text(row, 0)?,
        replays: rows::number(row, 1)?,
        state: MarkState::of(state).ok_or_else(|| rows::unreadable(format!("`{state}` is not a letter state")))?,
        note: rows::text(row, 3)?,
        by: rows::text(row, 4)?,
        at: rows::time(row.try_get(5)?)?,
    })
}

fn audit_row(row: &tokio_postgres::Row) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        id: row.try_get(0)?,
        at: rows::time(row.try_get(1)?)?,
        by: rows::text(row, 2)?,
        action: row.try_get(3)?,
        letters: row.try_get::<_, i64>(4)?.unsigned_abs(),
        selection: rows::text(row, 5)?,
    })
}
