//! Waiting events, outbox records and dead letters as rows.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{
    Connection, Row, params,
    types::{FromSqlError, Type},
};

use crate::{
    model::{DeadLetterId, HeaderBlock, OutgoingRecord},
    store::{
        DeadLetterRow, OutboxRecord, OutboxRow, WaitingRow,
        columns::{self, nanoseconds, state_name, state_of},
    },
};

/// The columns of a waiting event, in the order in which [`waiting`] reads them.
macro_rules! waiting_columns {
    () => {
        "record_offset, lane, state, attempts, since, first_failed_at, due, error_code, error_message, key, payload, headers, timestamp"
    };
}
pub(super) use waiting_columns;

/// Reads a time.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let nanoseconds: i64 = row.get(column)?;
    from_nanoseconds(column, nanoseconds)
}

fn from_nanoseconds(column: usize, nanoseconds: i64) -> rusqlite::Result<Timestamp> {
    columns::time(nanoseconds)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

/// The error for a text that this store does not write into the column.
fn not_ours(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(FromSqlError::InvalidType))
}

/// Writes waiting events and replaces existing ones.
pub(super) fn insert_waiting(db: &Connection, position: i64, rows: &[WaitingRow]) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(concat!(
        "INSERT OR REPLACE INTO waiting (position, ",
        waiting_columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    ))?;
    for row in rows {
        insert.execute(params![
            position,
            row.offset,
            row.queue,
            state_name(row.state),
            row.attempts,
            nanoseconds(row.since),
            row.first_failed_at.map(nanoseconds),
            nanoseconds(row.due),
            row.error_code,
            row.error_message,
            row.key,
            row.payload,
            row.headers,
            row.timestamp,
        ])?;
    }
    Ok(())
}

/// Reads a waiting event whose columns begin at `first`.
pub(super) fn waiting(row: &Row<'_>, first: usize) -> rusqlite::Result<WaitingRow> {
    let state: String = row.get(first + 2)?;
    let first_failed_at: Option<i64> = row.get(first + 5)?;
    Ok(WaitingRow {
        offset: row.get(first)?,
        queue: row.get(first + 1)?,
        state: state_of(&state).ok_or_else(|| not_ours(first + 2))?,
        attempts: row.get(first + 3)?,
        since: time(row, first + 4)?,
        first_failed_at: first_failed_at.map(|nanoseconds| from_nanoseconds(first + 5, nanoseconds)).transpose()?,
        due: time(row, first + 6)?,
        error_code: row.get(first + 7)?,
        error_message: row.get(first + 8)?,
        key: row.get(first + 9)?,
        payload: row.get(first + 10)?,
        headers: row.get(first + 11)?,
        timestamp: row.get(first + 12)?,
    })
}

/// Adds records to the outbox, in their order.
pub(super) fn insert_outbox(db: &Connection, position: i64, records: &[OutboxRecord]) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached(
        "INSERT INTO outbox (position, source_offset, topic, partition, key, payload, headers, timestamp)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for OutboxRecord { source_offset, record } in records {
        insert.execute((
            position,
            source_offset,
            &record.topic,
            record.partition,
            record.key.as_deref(),
            record.payload.as_deref(),
            record.headers.as_bytes(),
            record.timestamp,
        ))?;
    }
    Ok(())
}

/// The columns that [`outbox`] reads.
pub(super) const OUTBOX_COLUMNS: &str = "id, topic, partition, key, payload, headers, timestamp";

/// Reads a row of the outbox.
pub(super) fn outbox(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        id: row.get(0)?,
        record: Arc::new(OutgoingRecord {
            topic: row.get(1)?,
            partition: row.get(2)?,
            key: row.get::<_, Option<Vec<u8>>>(3)?.map(Bytes::from),
            payload: row.get::<_, Option<Vec<u8>>>(4)?.map(Bytes::from),
            headers: HeaderBlock::from_bytes(row.get(5)?),
            timestamp: row.get(6)?,
        }),
    })
}

/// Reads a dead letter: all columns in the order of the table.
pub(super) fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetterRow> {
    let id: String = row.get(0)?;
    let hash: [u8; 16] = row.get(2)?;
    Ok(DeadLetterRow {
        dlq_id: DeadLetterId::parse(id.as_bytes()).ok_or_else(|| not_ours(0))?,
        event_id: row.get(1)?,
        hash: u128::from_be_bytes(hash),
        replays: row.get(3)?,
        reason: row.get::<_, String>(4)?.into(),
        code: row.get::<_, String>(5)?.into(),
        at: time(row, 6)?,
    })
}
