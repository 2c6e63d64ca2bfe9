//! The statements of a commit. Each takes sets as arrays, so that a batch of a thousand events needs only a few statements.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tokio_postgres::{Error, types::ToSql};
use uuid::Uuid;

use super::{Client, absence::Hold};
use crate::store::{
    Changes, WaitingRow,
    columns::{nanoseconds, state_name},
};

type Identity = (String, Uuid, String, i32);

/// Locks positions in a fixed order, and returns each identity with its id, next offset and revision.
pub(super) async fn lock_positions(
    db: &Client,
    changes: &[Arc<Changes>],
) -> Result<Vec<(Identity, i64, i64, i64)>, Error> {
    let of = || changes.iter().map(|each| &each.partition);
    let clusters: Vec<&str> = of().map(|partition| &*partition.cluster).collect();
    let topic_ids: Vec<Uuid> = of().map(|partition| partition.topic_id).collect();
    let topics: Vec<&str> = of().map(|partition| &*partition.topic).collect();
    let numbers: Vec<i32> = of().map(|partition| partition.partition).collect();
    let statement = db
        .prepare_cached(
            "SELECT cluster, topic_id, topic, partition, id, next_offset, revision FROM positions
             WHERE (cluster, topic_id, topic, partition)
                IN (SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::integer[]))
             ORDER BY id FOR UPDATE",
        )
        .await?;
    let found = db.query(&statement, &[&clusters, &topic_ids, &topics, &numbers]).await?;
    found
        .iter()
        .map(|row| {
            let identity = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            Ok((identity, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?))
        })
        .collect()
}

/// Takes these advisory locks, shared or exclusive, in the order of their numbers. They are held until the transaction ends.
pub(super) async fn lock_numbers(db: &Client, locks: &BTreeMap<i64, Hold>) -> Result<(), Error> {
    if locks.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = locks.keys().copied().collect();
    let alone: Vec<bool> = locks.values().map(|hold| *hold == Hold::Alone).collect();
    let statement = db
        .prepare_cached(
            "SELECT CASE WHEN alone THEN pg_advisory_xact_lock(number)::text
                 ELSE pg_advisory_xact_lock_shared(number)::text END
             FROM unnest($1::bigint[], $2::boolean[]) AS locks (number, alone)",
        )
        .await?;
    db.execute(&statement, &[&numbers, &alone]).await.map(drop)
}

/// Locks the rows that exist, in the order of their ids, and returns their versions.
pub(super) async fn lock_versions(
    db: &Client,
    table: &str,
    id: &str,
    ids: &[String],
) -> Result<Vec<(String, u64)>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let statement = db
        .prepare_cached(&format!(
            "SELECT {id}, version FROM {table} WHERE {id} = ANY($1) ORDER BY {id} COLLATE \"C\" FOR UPDATE"
        ))
        .await?;
    let found = db.query(&statement, &[&ids]).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()))).collect()
}

/// Locks the deduplication windows that exist, in the order of their keys, and returns their versions.
pub(super) async fn lock_windows(db: &Client, keys: &[&[u8]]) -> Result<Vec<(Vec<u8>, u64)>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let statement =
        db.prepare_cached("SELECT key, version FROM rings WHERE key = ANY($1) ORDER BY key FOR UPDATE").await?;
    let found = db.query(&statement, &[&keys]).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()))).collect()
}

/// Locks the wanted waiting events that exist, in a fixed order, and returns them.
pub(super) async fn lock_waiting(db: &Client, wanted: &[(i64, i64)]) -> Result<HashSet<(i64, i64)>, Error> {
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let (positions, offsets): (Vec<i64>, Vec<i64>) = wanted.iter().copied().unzip();
    let statement = db
        .prepare_cached(
            "SELECT position, record_offset FROM waiting
             WHERE (position, record_offset) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))
             ORDER BY position, record_offset FOR UPDATE",
        )
        .await?;
    let found = db.query(&statement, &[&positions, &offsets]).await?;
    found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Moves positions, which must be locked.
pub(super) async fn advance(db: &Client, fitting: &[(i64, &Changes)]) -> Result<(), Error> {
    let ids: Vec<i64> = fitting.iter().map(|(id, _)| *id).collect();
    let to: Vec<i64> = fitting.iter().map(|(_, each)| each.to).collect();
    let proves: Vec<bool> = fitting.iter().map(|(_, each)| each.proves).collect();
    let statement = db
        .prepare_cached(
            "UPDATE positions SET next_offset = moved.next_offset, revision = revision + 1,
                 starts = CASE WHEN moved.proves THEN 0 ELSE starts END
             FROM unnest($1::bigint[], $2::bigint[], $3::boolean[]) AS moved (id, next_offset, proves)
             WHERE positions.id = moved.id",
        )
        .await?;
    db.execute(&statement, &[&ids, &to, &proves]).await.map(drop)
}

/// Deletes suspects whose attempt has ended without killing the owner.
pub(super) async fn clear_suspects(db: &Client, fitting: &[(i64, &Changes)]) -> Result<(), Error> {
    let (positions, offsets): (Vec<i64>, Vec<i64>) =
        fitting.iter().flat_map(|(id, each)| each.cleared.iter().map(|offset| (*id, *offset))).unzip();
    if positions.is_empty() {
        return Ok(());
    }
    let statement = db
        .prepare_cached(
            "DELETE FROM suspects
             WHERE (position, record_offset) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))",
        )
        .await?;
    db.execute(&statement, &[&positions, &offsets]).await.map(drop)
}

/// Writes deduplication windows. Returns false if a window that must not exist exists by now.
pub(super) async fn write_windows(db: &Client, fitting: &[(i64, &Changes)]) -> Result<bool, Error> {
    let mut windows: Vec<_> = fitting.iter().flat_map(|(_, each)| &each.windows).collect();
    windows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let (new, known): (Vec<_>, Vec<_>) = windows.into_iter().partition(|window| window.version == 0);
    if !known.is_empty() {
        let keys: Vec<&[u8]> = known.iter().map(|window| &*window.key).collect();
        let bytes: Vec<&[u8]> = known.iter().map(|window| &*window.bytes).collect();
        let statement = db
            .prepare_cached(
                "UPDATE rings SET version = version + 1, bytes = new.bytes, written = now()
                 FROM unnest($1::bytea[], $2::bytea[]) AS new (key, bytes) WHERE rings.key = new.key",
            )
            .await?;
        db.execute(&statement, &[&keys, &bytes]).await?;
    }
    if new.is_empty() {
        return Ok(true);
    }
    let keys: Vec<&[u8]> = new.iter().map(|window| &*window.key).collect();
    let bytes: Vec<&[u8]> = new.iter().map(|window| &*window.bytes).collect();
    let statement = db
        .prepare_cached(
            "INSERT INTO rings (key, version, bytes) SELECT key, 1, bytes
             FROM unnest($1::bytea[], $2::bytea[]) AS written (key, bytes) ON CONFLICT DO NOTHING",
        )
        .await?;
    let inserted = db.execute(&statement, &[&keys, &bytes]).await?;
    Ok(usize::try_from(inserted).is_ok_and(|inserted| inserted == new.len()))
}

/// Deletes waiting events, which must be locked.
pub(super) async fn release(db: &Client, fitting: &[(i64, &Changes)]) -> Result<(), Error> {
    let (positions, offsets): (Vec<i64>, Vec<i64>) =
        fitting.iter().flat_map(|(id, each)| each.released.iter().map(|offset| (*id, *offset))).unzip();
    if positions.is_empty() {
        return Ok(());
    }
    let statement = db
        .prepare_cached(
            "DELETE FROM waiting
             WHERE (position, record_offset) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))",
        )
        .await?;
    db.execute(&statement, &[&positions, &offsets]).await.map(drop)
}

/// Writes waiting events and replaces existing ones.
pub(super) async fn insert_waiting(db: &Client, fitting: &[(i64, &Changes)]) -> Result<(), Error> {
    let (positions, rows): (Vec<i64>, Vec<&WaitingRow>) =
        fitting.iter().flat_map(|(id, each)| each.waiting.iter().map(|row| (*id, row))).unzip();
    if rows.is_empty() {
        return Ok(());
    }
    let column = || rows.iter();
    let offsets: Vec<i64> = column().map(|row| row.offset).collect();
    let queues: Vec<&[u8]> = column().map(|row| &*row.queue).collect();
    let states: Vec<&str> = column().map(|row| state_name(row.state)).collect();
    let attempts: Vec<i64> = column().map(|row| i64::from(row.attempts)).collect();
    let since: Vec<i64> = column().map(|row| nanoseconds(row.since)).collect();
    let first_failed_at: Vec<Option<i64>> = column().map(|row| row.first_failed_at.map(nanoseconds)).collect();
    let due: Vec<i64> = column().map(|row| nanoseconds(row.due)).collect();
    let codes: Vec<&[u8]> = column().map(|row| row.error_code.as_bytes()).collect();
    let messages: Vec<&[u8]> = column().map(|row| row.error_message.as_bytes()).collect();
    let keys: Vec<Option<&[u8]>> = column().map(|row| row.key.as_deref()).collect();
    let payloads: Vec<Option<&[u8]>> = column().map(|row| row.payload.as_deref()).collect();
    let headers: Vec<&[u8]> = column().map(|row| &*row.headers).collect();
    let timestamps: Vec<Option<i64>> = column().map(|row| row.timestamp).collect();
    let statement = db
        .prepare_cached(
            "INSERT INTO waiting (position, record_offset, lane, state, attempts, since, first_failed_at, due, error_code,
                 error_message, key, payload, headers, timestamp)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[],
                 $7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[],
                 $14::bigint[])
             ON CONFLICT (position, record_offset) DO UPDATE SET
                 (lane, state, attempts, since, first_failed_at, due, error_code, error_message, key, payload, headers,
                     timestamp)
                 = (excluded.lane, excluded.state, excluded.attempts, excluded.since, excluded.first_failed_at,
                     excluded.due, excluded.error_code, excluded.error_message, excluded.key, excluded.payload,
                     excluded.headers, excluded.timestamp)",
        )
        .await?;
    let parameters: [&(dyn ToSql + Sync); 14] = [
        &positions,
        &offsets,
        &queues,
        &states,
        &attempts,
        &since,
        &first_failed_at,
        &due,
        &codes,
        &messages,
        &keys,
        &payloads,
        &headers,
        &timestamps,
    ];
    db.execute(&statement, &parameters).await.map(drop)
}

/// Adds records to the outbox, in their order.
pub(super) async fn insert_outbox(db: &Client, fitting: &[(i64, &Changes)]) -> Result<(), Error> {
    let (positions, rows): (Vec<i64>, Vec<_>) =
        fitting.iter().flat_map(|(id, each)| each.outbox.iter().map(|row| (*id, row))).unzip();
    if rows.is_empty() {
        return Ok(());
    }
    let offsets: Vec<i64> = rows.iter().map(|row| row.source_offset).collect();
    let topics: Vec<&str> = rows.iter().map(|row| &*row.record.topic).collect();
    let partitions: Vec<Option<i32>> = rows.iter().map(|row| row.record.partition).collect();
    let keys: Vec<Option<&[u8]>> = rows.iter().map(|row| row.record.key.as_deref()).collect();
    let payloads: Vec<Option<&[u8]>> = rows.iter().map(|row| row.record.payload.as_deref()).collect();
    let headers: Vec<&[u8]> = rows.iter().map(|row| row.record.headers.as_bytes()).collect();
    let timestamps: Vec<Option<i64>> = rows.iter().map(|row| row.record.timestamp).collect();
    let statement = db
        .prepare_cached(
            "INSERT INTO outbox (position, source_offset, topic, partition, key, payload, headers, timestamp)
             SELECT position, source_offset, topic, partition, key, payload, headers, timestamp
             FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[], $5::bytea[], $6::bytea[], $7::bytea[],
                 $8::bigint[]) WITH ORDINALITY
                 AS written (position, source_offset, topic, partition, key, payload, headers, timestamp, place)
             ORDER BY place",
        )
        .await?;
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&positions, &offsets, &topics, &partitions, &keys, &payloads, &headers, &timestamps];
    db.execute(&statement, &parameters).await.map(drop)
}

/// Writes dead letters and replaces existing ones.
pub(super) async fn remember(db: &Client, fitting: &[(i64, &Changes)]) -> Result<(), Error> {
    let all = fitting.iter().flat_map(|(_, each)| &each.dead_letters);
    // A statement may not write a row twice. Of two dead letters with the same id, the later one counts.
    let mut rows: Vec<_> = all.enumerate().collect();
    rows.sort_unstable_by(|a, b| a.1.dlq_id.cmp(&b.1.dlq_id).then(b.0.cmp(&a.0)));
    rows.dedup_by(|later, earlier| later.1.dlq_id == earlier.1.dlq_id);
    if rows.is_empty() {
        return Ok(());
    }
    let column = || rows.iter().map(|(_, letter)| letter);
    let ids: Vec<_> = column().map(|letter| letter.dlq_id.digits()).collect();
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
    let event_ids: Vec<&[u8]> = column().map(|letter| letter.event_id.as_bytes()).collect();
    let hashes: Vec<Vec<u8>> = column().map(|letter| letter.hash.to_be_bytes().to_vec()).collect();
    let replays: Vec<i64> = column().map(|letter| i64::from(letter.replays)).collect();
    let reasons: Vec<&str> = column().map(|letter| &*letter.reason).collect();
    let codes: Vec<&[u8]> = column().map(|letter| letter.code.as_bytes()).collect();
    let at: Vec<i64> = column().map(|letter| nanoseconds(letter.at)).collect();
    let statement = db
        .prepare_cached(
            "INSERT INTO dead_letters (dlq_id, event_id, hash, replays, reason, code, at)
             SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bigint[], $5::text[], $6::bytea[],
                 $7::bigint[])
             ON CONFLICT (dlq_id) DO UPDATE SET (event_id, hash, replays, reason, code, at)
                 = (excluded.event_id, excluded.hash, excluded.replays, excluded.reason, excluded.code, excluded.at)",
        )
        .await?;
    db.execute(&statement, &[&ids, &event_ids, &hashes, &replays, &reasons, &codes, &at]).await.map(drop)
}
