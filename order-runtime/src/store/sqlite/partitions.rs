//! The positions, suspects and waiting events of partitions.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, types::Type};
use uuid::Uuid;

use super::rows::{self, waiting_columns};
use crate::{
    model::PartitionId,
    store::{
        Assigned, StoreError, Suspect, WaitingCount, WaitingRow, WaitingState,
        columns::{row_limit, state_name},
    },
};

pub(super) fn claim(db: &mut Connection, group: &str) -> Result<Uuid, StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "INSERT INTO store (only_row, uuid, consumer_group, pings) VALUES (1, ?1, ?2, 0) ON CONFLICT DO NOTHING",
        (Uuid::new_v4().to_string(), group),
    )?;
    let (id, owner) = transaction
        .query_row("SELECT uuid, consumer_group FROM store", [], |row| Ok((uuid(row, 0)?, row.get::<_, String>(1)?)))?;
    if owner != group {
        return Err(StoreError::ForeignGroup { owner, asked: group.to_owned() });
    }
    transaction.commit()?;
    Ok(id)
}

pub(super) fn assigned(db: &mut Connection, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut answers = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let (cluster, topic_id, topic, number) = identity(partition);
        transaction
            .prepare_cached(
                "INSERT INTO suspects (position, record_offset, running, alone, runs_alone)
                 SELECT id, record_offset, 1, 0, FALSE FROM positions JOIN waiting ON waiting.position = positions.id
                 WHERE cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4 AND owned AND state = ?5
                 ON CONFLICT (position, record_offset) DO UPDATE SET running = running + 1",
            )?
            .execute((cluster, topic_id, topic, number, state_name(WaitingState::Running)))?;
        transaction
            .prepare_cached(
                "UPDATE suspects SET alone = alone + positions.owned, runs_alone = FALSE FROM positions
                 WHERE suspects.position = positions.id AND runs_alone
                   AND cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4",
            )?
            .execute(identity(partition))?;
        transaction
            .prepare_cached(
                "UPDATE positions
                 SET revision = revision + 1, starts = starts + 1, assignment = assignment + 1, owned = TRUE
                 WHERE cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4",
            )?
            .execute(identity(partition))?;
        answers.push(read(&transaction, partition)?);
    }
    transaction.commit()?;
    Ok(answers)
}

pub(super) fn reload(db: &mut Connection, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
    let snapshot = db.transaction()?;
    Ok(read(&snapshot, partition)?)
}

pub(super) fn begin(db: &mut Connection, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (cluster, topic_id, topic, number) = identity(partition);
    // The assignment that found no position counts as the first start.
    let written = transaction
        .prepare_cached(
            "INSERT INTO positions (cluster, topic_id, topic, partition, next_offset, revision, starts, assignment, owned)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, 1, 1, TRUE) ON CONFLICT DO NOTHING",
        )?
        .execute((cluster, topic_id, topic, number, next_offset))?;
    let stored = read(&transaction, partition)?;
    transaction.commit()?;
    let stored = if written == 0 { assigned(db, std::slice::from_ref(partition))?.pop().flatten() } else { stored };
    Ok(stored.ok_or(rusqlite::Error::QueryReturnedNoRows)?)
}

pub(super) fn runs_alone(
    db: &mut Connection,
    partition: &PartitionId,
    assignment: i64,
    offset: Option<i64>,
) -> Result<u32, StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (cluster, topic_id, topic, number) = identity(partition);
    let position: Option<i64> = transaction
        .prepare_cached(
            "SELECT id FROM positions
             WHERE cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4 AND assignment = ?5 AND owned",
        )?
        .query_row((cluster, topic_id, topic, number, assignment), |row| row.get(0))
        .optional()?;
    let Some(position) = position else { return Ok(0) };
    transaction
        .prepare_cached("UPDATE suspects SET runs_alone = FALSE WHERE position = ?1 AND runs_alone")?
        .execute([position])?;
    let mut deaths = 0;
    if let Some(offset) = offset {
        deaths = transaction
            .prepare_cached(
                "INSERT INTO suspects (position, record_offset, running, alone, runs_alone) VALUES (?1, ?2, 0, 0, TRUE)
                 ON CONFLICT (position, record_offset) DO UPDATE SET runs_alone = TRUE
                 RETURNING alone",
            )?
            .query_row([position, offset], |row| row.get(0))?;
    }
    transaction.commit()?;
    Ok(deaths)
}

pub(super) fn ended(db: &mut Connection, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (partition, assignment) in assignments {
        let (cluster, topic_id, topic, number) = identity(partition);
        transaction
            .prepare_cached(
                "UPDATE suspects SET runs_alone = FALSE FROM positions
                 WHERE suspects.position = positions.id AND runs_alone
                   AND cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4 AND assignment = ?5 AND owned",
            )?
            .execute((cluster, &topic_id, topic, number, assignment))?;
        transaction
            .prepare_cached(
                "UPDATE positions SET starts = MAX(starts - 1, 0), owned = FALSE
                 WHERE cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4 AND assignment = ?5 AND owned",
            )?
            .execute((cluster, topic_id, topic, number, assignment))?;
    }
    Ok(transaction.commit()?)
}

pub(super) fn knows_topic(db: &Connection, partition: &PartitionId) -> Result<bool, StoreError> {
    let (cluster, topic_id, topic, _) = identity(partition);
    let known = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM positions WHERE cluster = ?1 AND topic_id = ?2 AND topic = ?3)")?
        .query_row((cluster, topic_id, topic), |row| row.get(0))?;
    Ok(known)
}

pub(super) fn positions(db: &Connection) -> Result<Vec<(PartitionId, i64)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT cluster, topic_id, topic, partition, next_offset FROM positions
         ORDER BY cluster, topic_id, topic, partition",
    )?;
    let rows = statement.query_map([], |row| Ok((partition_id(row)?, row.get(4)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn waiting(db: &Connection, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError> {
    let mut statement = db.prepare_cached(concat!(
        "SELECT cluster, topic_id, topic, partition, ",
        waiting_columns!(),
        " FROM positions JOIN waiting ON waiting.position = positions.id
         ORDER BY cluster, topic_id, topic, partition, record_offset LIMIT ?1"
    ))?;
    let rows = statement.query_map([row_limit(limit)], |row| Ok((partition_id(row)?, rows::waiting(row, 4)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn count_waiting(db: &Connection, partitions: &[PartitionId]) -> Result<Vec<WaitingCount>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT count(DISTINCT lane), count(*) FROM positions JOIN waiting ON waiting.position = positions.id
         WHERE cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4",
    )?;
    let mut count = |partition| {
        statement.query_row(identity(partition), |row| {
            let count = |column| row.get::<_, i64>(column).map(|count| usize::try_from(count).unwrap_or_default());
            Ok(WaitingCount { keys: count(0)?, events: count(1)? })
        })
    };
    Ok(partitions.iter().map(&mut count).collect::<rusqlite::Result<_>>()?)
}

fn read(db: &Connection, partition: &PartitionId) -> rusqlite::Result<Option<Assigned>> {
    let found = db
        .prepare_cached(
            "SELECT id, next_offset, revision, starts, assignment FROM positions
             WHERE cluster = ?1 AND topic_id = ?2 AND topic = ?3 AND partition = ?4",
        )?
        .query_row(identity(partition), |row| {
            let assigned = Assigned {
                next_offset: row.get(1)?,
                revision: row.get(2)?,
                starts: row.get(3)?,
                assignment: row.get(4)?,
                ..Assigned::default()
            };
            Ok((row.get::<_, i64>(0)?, assigned))
        })
        .optional()?;
    let Some((position, mut assigned)) = found else {
        return Ok(None);
    };
    let mut statement = db.prepare_cached(concat!(
        "SELECT ",
        waiting_columns!(),
        " FROM waiting WHERE position = ?1 ORDER BY record_offset"
    ))?;
    let waiting = statement.query_map([position], |row| rows::waiting(row, 0))?;
    assigned.waiting = waiting.collect::<rusqlite::Result<_>>()?;
    let mut statement = db.prepare_cached(
        "SELECT record_offset, running, alone FROM suspects WHERE position = ?1 ORDER BY record_offset",
    )?;
    let suspect = |row: &Row<'_>| Ok(Suspect { offset: row.get(0)?, running: row.get(1)?, alone: row.get(2)? });
    assigned.suspects = statement.query_map([position], suspect)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(assigned))
}

/// A partition's identity as parameters. The topic's name is part of it, because a broker that is too old for topic ids gives
/// all its topics the same id.
fn identity(partition: &PartitionId) -> (&str, String, &str, i32) {
    (&partition.cluster, partition.topic_id.to_string(), &partition.topic, partition.partition)
}

fn partition_id(row: &Row<'_>) -> rusqlite::Result<PartitionId> {
    Ok(PartitionId {
        cluster: row.get::<_, Arc<str>>(0)?,
        topic_id: uuid(row, 1)?,
        topic: row.get::<_, Arc<str>>(2)?,
        partition: row.get(3)?,
    })
}

fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Uuid::parse_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}
