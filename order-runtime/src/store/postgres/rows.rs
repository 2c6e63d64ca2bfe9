//! Waiting events, outbox records and dead letters as rows.

use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::Row;

use crate::{
    model::{DeadLetterId, HeaderBlock, OutgoingRecord},
    store::{
        DeadLetterRow, OutboxRow, StoreError, WaitingRow,
        columns::{self, state_of},
    },
};

/// The columns that [`waiting`] reads.
pub(super) const WAITING_COLUMNS: &str = "record_offset, lane, state, attempts, since, first_failed_at, due, \
     error_code, error_message, key, payload, headers, timestamp";

/// Reads a waiting event whose columns begin at `first`.
pub(super) fn waiting(row: &Row, first: usize) -> Result<WaitingRow, StoreError> {
    let state: &str = row.try_get(first + 2)?;
    let first_failed_at: Option<i64> = row.try_get(first + 5)?;
    Ok(WaitingRow {
        offset: row.try_get(first)?,
        queue: row.try_get(first + 1)?,
        state: state_of(state).ok_or_else(|| unreadable(format!("`{state}` is not a state of a waiting event")))?,
        attempts: number(row, first + 3)?,
        since: time(row.try_get(first + 4)?)?,
        first_failed_at: first_failed_at.map(time).transpose()?,
        due: time(row.try_get(first + 6)?)?,
        error_code: text(row, first + 7)?,
        error_message: text(row, first + 8)?,
        key: row.try_get(first + 9)?,
        payload: row.try_get(first + 10)?,
        headers: row.try_get(first + 11)?,
        timestamp: row.try_get(first + 12)?,
    })
}

/// The columns that [`outbox`] reads.
pub(super) const OUTBOX_COLUMNS: &str = "id, topic, partition, key, payload, headers, timestamp";

/// Reads a row of the outbox.
pub(super) fn outbox(row: &Row) -> Result<OutboxRow, StoreError> {
    Ok(OutboxRow {
        id: row.try_get(0)?,
        record: Arc::new(OutgoingRecord {
            topic: row.try_get::<_, &str>(1)?.into(),
            partition: row.try_get(2)?,
            key: row.try_get::<_, Option<Vec<u8>>>(3)?.map(Bytes::from),
            payload: row.try_get::<_, Option<Vec<u8>>>(4)?.map(Bytes::from),
            headers: HeaderBlock::from_bytes(row.try_get(5)?),
            timestamp: row.try_get(6)?,
        }),
    })
}

/// Reads a dead letter: all columns in the order of the table.
pub(super) fn dead_letter(row: &Row) -> Result<DeadLetterRow, StoreError> {
    let id = DeadLetterId::parse(row.try_get(0)?);
    let hash: &[u8] = row.try_get(2)?;
    let hash = <[u8; 16]>::try_from(hash).map_err(|_| unreadable("a hash does not have 16 bytes".to_owned()))?;
    Ok(DeadLetterRow {
        dlq_id: id.ok_or_else(|| unreadable("the id of a dead letter is not 32 hexadecimal digits".to_owned()))?,
        event_id: text(row, 1)?,
        hash: u128::from_be_bytes(hash),
        replays: number(row, 3)?,
        reason: row.try_get::<_, String>(4)?.into(),
        code: text(row, 5)?.into(),
        at: time(row.try_get(6)?)?,
    })
}

pub(super) fn text(row: &Row, column: usize) -> Result<String, StoreError> {
    String::from_utf8(row.try_get(column)?).map_err(|error| unreadable(error.to_string()))
}

pub(super) fn number(row: &Row, column: usize) -> Result<u32, StoreError> {
    let number: i64 = row.try_get(column)?;
    u32::try_from(number).map_err(|_| unreadable(format!("{number} is out of range")))
}

pub(super) fn time(nanoseconds: i64) -> Result<jiff::Timestamp, StoreError> {
    columns::time(nanoseconds).map_err(|error| unreadable(error.to_string()))
}

/// The error for a value that this program would not have written.
pub(super) fn unreadable(what: String) -> StoreError {
    StoreError::Unusable(what)
}
