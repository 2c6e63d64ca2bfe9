//! Reads for batches, the relay and the read model, and the deletion of old rows.

use std::any::Any;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_postgres::types::ToSql;

use super::{
    Client,
    link::{ANSWER, Lent, Link},
    rows,
};
use crate::{
    model::DeadLetterId,
    store::{
        DedupRow, EntityType, Load, Loaded, OutboxRow, OutboxSize, StoreError,
        columns::{nanoseconds, row_limit},
    },
};

/// The advisory lock of a store's only active relay: "ordr", then a number.
const RELAY_LOCK: i64 = 0x6f72_6472_0000_0002;

/// A [`Load`] with the ids as texts.
pub(super) struct Wanted {
    entities: Vec<(EntityType, Vec<String>)>,
    windows: Vec<Vec<u8>>,
    dead_letters: Vec<DeadLetterId>,
}

impl Wanted {
    pub(super) fn of(load: Load) -> Result<Self, StoreError> {
        let texts = |(entity, ids): (EntityType, Box<dyn Any + Send>)| {
            let ids: &(dyn Any + Send) = ids.as_ref();
            Ok((entity, entity.postgres.texts(ids)?))
        };
        let entities = load.entities.into_iter().map(texts).collect::<Result<_, StoreError>>()?;
        Ok(Self { entities, windows: load.windows, dead_letters: load.dead_letters })
    }
}

/// Loads rows, deduplication windows and dead letters. Each statement has its own snapshot. The commit compares the version of
/// every row, so a batch that was built from different snapshots is a conflict and runs again.
pub(super) async fn load(db: &Client, wanted: &Wanted) -> Result<Loaded, StoreError> {
    let entities = async {
        let mut loaded = Vec::with_capacity(wanted.entities.len());
        for (entity, ids) in &wanted.entities {
            loaded.push(entity.postgres.load(db, ids).await?);
        }
        Ok::<_, StoreError>(loaded)
    };
    let windows = async {
        if wanted.windows.is_empty() {
            return Ok(Vec::new());
        }
        let statement = db.prepare_cached("SELECT key, version, bytes FROM rings WHERE key = ANY($1)").await?;
        let found = db.query(&statement, &[&wanted.windows]).await?;
        found.iter().map(window_row).collect::<Result<Vec<_>, StoreError>>()
    };
    let dead_letters = async {
        if wanted.dead_letters.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = wanted.dead_letters.iter().map(|id| id.digits()).collect();
        let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
        let statement = db
            .prepare_cached(
                "SELECT dlq_id, event_id, hash, replays, reason, code, at FROM dead_letters WHERE dlq_id = ANY($1)",
            )
            .await?;
        let found = db.query(&statement, &[&ids]).await?;
        found.iter().map(rows::dead_letter).collect::<Result<Vec<_>, StoreError>>()
    };
    // Pipelined: all statements are sent without waiting for answers in between.
    let (entities, windows, dead_letters) = futures_util::future::try_join3(entities, windows, dead_letters).await?;
    Ok(Loaded { entities, windows, dead_letters })
}

fn window_row(row: &tokio_postgres::Row) -> Result<DedupRow, StoreError> {
    let version: i64 = row.try_get(1)?;
    Ok(DedupRow { key: row.try_get(0)?, version: version.unsigned_abs(), bytes: row.try_get(2)? })
}

pub(super) async fn window(db: &Client, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let found = db.query_opt("SELECT bytes FROM rings WHERE key = $1", &[&key]).await?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

pub(super) async fn outbox(db: &Client, after: i64, limit: usize) -> Result<Vec<OutboxRow>, StoreError> {
    let statement = db
        .prepare_cached(&format!("SELECT {} FROM outbox WHERE id > $1 ORDER BY id LIMIT $2", rows::OUTBOX_COLUMNS))
        .await?;
    let parameters: [&(dyn ToSql + Sync); 2] = [&after, &row_limit(limit)];
    db.query(&statement, &parameters).await?.iter().map(rows::outbox).collect()
}

/// The size of the outbox, counted up to a number of rows above which the exact size makes no difference. Lengths are read
/// without the values.
pub(super) async fn outbox_size(db: &Client) -> Result<OutboxSize, StoreError> {
    let limit = i64::try_from(crate::store::OUTBOX_LIMIT).unwrap_or(i64::MAX).saturating_add(1);
    let statement = db
        .prepare_cached(
            "SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM (SELECT coalesce(octet_length(key), 0)::bigint \
             + coalesce(octet_length(payload), 0) + octet_length(headers) AS bytes FROM outbox LIMIT $1) AS counted",
        )
        .await?;
    let row = db.query_one(&statement, &[&limit]).await?;
    let (rows, bytes): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(OutboxSize { rows: rows.unsigned_abs(), bytes: bytes.unsigned_abs() })
}

pub(super) async fn published(db: &Client, ids: &[i64]) -> Result<(), StoreError> {
    let statement = db.prepare_cached("DELETE FROM outbox WHERE id = ANY($1)").await?;
    db.execute(&statement, &[&ids]).await?;
    Ok(())
}

/// Number of deduplication windows that one call of [`forget`] checks.
const LOOKED_AT: i64 = 5_000;

pub(super) async fn forget(db: &Client, until: Timestamp, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    // Goes through the keys in their order. An index on times would have to be updated by every event.
    let last = db
        .query_opt("SELECT key FROM rings WHERE key > $1 ORDER BY key LIMIT 1 OFFSET $2", &[&from, &LOOKED_AT])
        .await?;
    let last: Option<Vec<u8>> = last.map(|row| row.try_get(0)).transpose()?;
    let seconds = until.as_second();
    db.execute(
        "DELETE FROM rings
         WHERE key > $1 AND ($2::bytea IS NULL OR key <= $2) AND written < to_timestamp($3::bigint)",
        &[&from, &last, &seconds],
    )
    .await?;
    if last.is_none() {
        for table in ["dead_letters", "letter_marks", "audit"] {
            db.execute(&format!("DELETE FROM {table} WHERE at < $1"), &[&nanoseconds(until)]).await?;
        }
    }
    Ok(last)
}

/// Checks that a write transaction can commit.
pub(super) async fn ping(db: &Client) -> Result<(), StoreError> {
    db.execute("UPDATE store SET pings = pings + 1", &[]).await?;
    Ok(())
}

/// The right to publish the outbox: an advisory lock of the server, held until its connection ends.
pub(super) struct RelayLock {
    link: Link,
    held: Mutex<Option<Lent>>,
}

impl RelayLock {
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        Ok(Self { link: Link::new(url, 1, ANSWER)?, held: Mutex::new(None) })
    }

    /// Whether this instance holds the lock; tries to take it if not.
    pub(super) async fn is_held(&self) -> Result<bool, StoreError> {
        if self.held.lock().as_ref().is_some_and(|connection| !connection.is_closed()) {
            return Ok(true);
        }
        // A lost connection has lost the lock too. It is closed first, because the pool has only one connection.
        drop(self.held.lock().take());
        let connection = self.link.lend().await?;
        // A database may hold several stores, each in its own schema and with its own relay.
        let asked = connection.query_one(
            "SELECT pg_try_advisory_lock($1 # CASE schema.nspname WHEN 'public' THEN 0 ELSE schema.oid::bigint << 8 END)
             FROM pg_class AS outbox JOIN pg_namespace AS schema ON schema.oid = outbox.relnamespace
             WHERE outbox.oid = to_regclass('outbox')",
            &[&RELAY_LOCK],
        );
        let row = tokio::time::timeout(ANSWER, asked).await.map_err(|_| {
            StoreError::Unavailable(format!("the server has not answered within {} s", ANSWER.as_secs()))
        })??;
        let got: bool = row.try_get(0)?;
        if got {
            *self.held.lock() = Some(connection);
        } else {
            connection.give_back();
        }
        Ok(got)
    }

    pub(super) fn release(&self) {
        drop(self.held.lock().take());
        self.link.close();
    }
}
