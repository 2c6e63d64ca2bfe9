//! The positions, suspects and waiting events of partitions.

use tokio_postgres::Row;
use uuid::Uuid;

use super::{Client, rows};
use crate::{
    model::PartitionId,
    store::{
        Assigned, StoreError, Suspect, WaitingCount, WaitingRow, WaitingState,
        columns::{row_limit, state_name},
    },
};

pub(super) async fn claim(db: &Client, group: &str) -> Result<Uuid, StoreError> {
    db.execute(
        "INSERT INTO store (only_row, uuid, consumer_group, pings) VALUES (true, $1, $2, 0) ON CONFLICT DO NOTHING",
        &[&Uuid::new_v4(), &group],
    )
    .await?;
    let row = db.query_one("SELECT uuid, consumer_group FROM store", &[]).await?;
    let owner: String = row.try_get(1)?;
    if owner != group {
        return Err(StoreError::ForeignGroup { owner, asked: group.to_owned() });
    }
    Ok(row.try_get(0)?)
}

/// Counts the starts and reads the positions, suspects and waiting events, in one transaction. The positions stay locked until
/// it ends, so that a commit of the former owner either precedes it or is fenced.
pub(super) async fn assigned(db: &Client, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError> {
    let count = db
        .prepare_cached(
            "WITH found AS (
                 SELECT id, owned FROM positions
                 WHERE cluster = $1 AND topic_id = $2 AND topic = $3 AND partition = $4 FOR UPDATE
             ), noted AS (
                 INSERT INTO suspects (position, record_offset, running, alone, runs_alone)
                 SELECT position, record_offset, 1, 0, false FROM waiting JOIN found ON waiting.position = found.id
                 WHERE owned AND state = $5
                 ON CONFLICT (position, record_offset) DO UPDATE SET running = suspects.running + 1
             )
             UPDATE positions
             SET revision = revision + 1, starts = starts + 1, assignment = assignment + 1, owned = true
             FROM found WHERE positions.id = found.id
             RETURNING positions.id, next_offset, revision, starts, assignment",
        )
        .await?;
    let count_alone = db
        .prepare_cached(
            "UPDATE suspects SET alone = alone + positions.owned::int, runs_alone = false FROM positions
             WHERE suspects.position = positions.id AND runs_alone
               AND cluster = $1 AND topic_id = $2 AND topic = $3 AND partition = $4",
        )
        .await?;
    // All or none: an attempt that fails half-way would count deaths that did not happen.
    db.batch_execute("BEGIN").await?;
    let (mut clusters, mut topic_ids, mut topics, mut numbers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for PartitionId { cluster, topic_id, topic, partition } in partitions {
        clusters.push(&**cluster);
        topic_ids.push(*topic_id);
        topics.push(&**topic);
        numbers.push(*partition);
    }
    // The same order as that of commits.
    db.query(
        "SELECT positions.id FROM positions
         JOIN unnest($1::text[], $2::uuid[], $3::text[], $4::int[]) AS asked (cluster, topic_id, topic, partition)
         USING (cluster, topic_id, topic, partition)
         ORDER BY positions.id FOR UPDATE OF positions",
        &[&clusters, &topic_ids, &topics, &numbers],
    )
    .await?;
    let mut answers = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let (cluster, topic) = (&*partition.cluster, &*partition.topic);
        let running = state_name(WaitingState::Running);
        // Before the update of the position, whose `owned` still shows whether the last owner has died. A death is counted
        // once, even if the assignment is repeated.
        db.execute(&count_alone, &[&cluster, &partition.topic_id, &topic, &partition.partition]).await?;
        let found =
            db.query_opt(&count, &[&cluster, &partition.topic_id, &topic, &partition.partition, &running]).await?;
        answers.push(match found {
            Some(row) => Some(with_waiting(db, &row).await?),
            None => None,
        });
    }
    db.batch_execute("COMMIT").await?;
    Ok(answers)
}

pub(super) async fn reload(db: &Client, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
    // All reads see the same snapshot.
    db.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let found = read(db, partition).await?;
    db.batch_execute("COMMIT").await?;
    Ok(found)
}

pub(super) async fn begin(db: &Client, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError> {
    let (cluster, topic) = (&*partition.cluster, &*partition.topic);
    // The assignment that found no position counts as the first start.
    let written = db.execute(
        "INSERT INTO positions (cluster, topic_id, topic, partition, next_offset, revision, starts, assignment, owned)
         VALUES ($1, $2, $3, $4, $5, 0, 1, 1, true) ON CONFLICT DO NOTHING",
        &[&cluster, &partition.topic_id, &topic, &partition.partition, &next_offset],
    )
    .await?;
    let stored = if written == 0 {
        assigned(db, std::slice::from_ref(partition)).await?.pop().flatten()
    } else {
        read(db, partition).await?
    };
    stored.ok_or_else(|| StoreError::Unavailable("a position that was just written cannot be found".to_owned()))
}

pub(super) async fn runs_alone(
    db: &Client,
    partition: &PartitionId,
    assignment: i64,
    offset: Option<i64>,
) -> Result<u32, StoreError> {
    let (cluster, topic) = (&*partition.cluster, &*partition.topic);
    // No event runs between the two statements, because the caller waits for both. Another instance may be assigned the partition
    // between them, so each checks the assignment.
    let reset = db
        .prepare_cached(
            "WITH owned AS (
                 SELECT id FROM positions
                 WHERE cluster = $1 AND topic_id = $2 AND topic = $3 AND partition = $4 AND assignment = $5 AND owned
             ), others AS (
                 UPDATE suspects SET runs_alone = false FROM owned WHERE position = owned.id AND runs_alone
             )
             SELECT id FROM owned",
        )
        .await?;
    let position =
        db.query_opt(&reset, &[&cluster, &partition.topic_id, &topic, &partition.partition, &assignment]).await?;
    let (Some(position), Some(offset)) = (position, offset) else { return Ok(0) };
    let note = db
        .prepare_cached(
            "INSERT INTO suspects (position, record_offset, running, alone, runs_alone)
             SELECT id, $2, 0, 0, true FROM positions WHERE id = $1 AND assignment = $3 AND owned FOR SHARE
             ON CONFLICT (position, record_offset) DO UPDATE SET runs_alone = true
             RETURNING alone",
        )
        .await?;
    let row = db.query_opt(&note, &[&position.try_get::<_, i64>(0)?, &offset, &assignment]).await?;
    row.map_or(Ok(0), |row| rows::number(&row, 0))
}

pub(super) async fn ended(db: &Client, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError> {
    let statement = db
        .prepare_cached(
            "WITH ended AS (
                 UPDATE positions SET starts = greatest(starts - 1, 0), owned = false
                 WHERE cluster = $1 AND topic_id = $2 AND topic = $3 AND partition = $4 AND assignment = $5 AND owned
                 RETURNING id
             )
             UPDATE suspects SET runs_alone = false FROM ended WHERE position = ended.id AND runs_alone",
        )
        .await?;
    for (partition, assignment) in assignments {
        let (cluster, topic) = (&*partition.cluster, &*partition.topic);
        db.execute(&statement, &[&cluster, &partition.topic_id, &topic, &partition.partition, assignment]).await?;
    }
    Ok(())
}

pub(super) async fn knows_topic(db: &Client, partition: &PartitionId) -> Result<bool, StoreError> {
    let (cluster, topic) = (&*partition.cluster, &*partition.topic);
    let row = db
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM positions WHERE cluster = $1 AND topic_id = $2 AND topic = $3)",
            &[&cluster, &partition.topic_id, &topic],
        )
        .await?;
    Ok(row.try_get(0)?)
}

pub(super) async fn positions(db: &Client) -> Result<Vec<(PartitionId, i64)>, StoreError> {
    let found = db
        .query(
            "SELECT cluster, topic_id, topic, partition, next_offset FROM positions
             ORDER BY cluster, topic_id, topic, partition",
            &[],
        )
        .await?;
    found.iter().map(|row| Ok((partition_id(row)?, row.try_get(4)?))).collect()
}

pub(super) async fn waiting(db: &Client, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError> {
    let found = db
        .query(
            &format!(
                "SELECT cluster, topic_id, topic, partition, {} FROM positions JOIN waiting ON waiting.position = positions.id
                 ORDER BY cluster, topic_id, topic, partition, record_offset LIMIT $1",
                rows::WAITING_COLUMNS
            ),
            &[&row_limit(limit)],
        )
        .await?;
    found.iter().map(|row| Ok((partition_id(row)?, rows::waiting(row, 4)?))).collect()
}

pub(super) async fn count_waiting(db: &Client, partitions: &[PartitionId]) -> Result<Vec<WaitingCount>, StoreError> {
    let statement = db
        .prepare_cached(
            "SELECT count(DISTINCT lane), count(*) FROM positions JOIN waiting ON waiting.position = positions.id
             WHERE cluster = $1 AND topic_id = $2 AND topic = $3 AND partition = $4",
        )
        .await?;
    let mut counts = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let (cluster, topic) = (&*partition.cluster, &*partition.topic);
        let row = db.query_one(&statement, &[&cluster, &partition.topic_id, &topic, &partition.partition]).await?;
        let count = |column| row.try_get::<_, i64>(column).map(|count| usize::try_from(count).unwrap_or_default());
        counts.push(WaitingCount { keys: count(0)?, events: count(1)? });
    }
    Ok(counts)
}

async fn read(db: &Client, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
    let (cluster, topic) = (&*partition.cluster, &*partition.topic);
    let statement = db
        .prepare_cached(
            "SELECT id, next_offset, revision, starts, assignment FROM positions
             WHERE cluster = $1 AND topic_id = $2 AND topic = $3 AND partition = $4",
        )
        .await?;
    match db.query_opt(&statement, &[&cluster, &partition.topic_id, &topic, &partition.partition]).await? {
        Some(row) => Ok(Some(with_waiting(db, &row).await?)),
        None => Ok(None),
    }
}

async fn with_waiting(db: &Client, position: &Row) -> Result<Assigned, StoreError> {
    let id: i64 = position.try_get(0)?;
    let statement = db
        .prepare_cached(&format!(
            "SELECT {} FROM waiting WHERE position = $1 ORDER BY record_offset",
            rows::WAITING_COLUMNS
        ))
        .await?;
    let found = db.query(&statement, &[&id]).await?;
    let statement = db
        .prepare_cached("SELECT record_offset, running, alone FROM suspects WHERE position = $1 ORDER BY record_offset")
        .await?;
    let suspects = db.query(&statement, &[&id]).await?;
    Ok(Assigned {
        next_offset: position.try_get(1)?,
        revision: position.try_get(2)?,
        starts: u32::try_from(position.try_get::<_, i64>(3)?).unwrap_or(u32::MAX),
        assignment: position.try_get(4)?,
        suspects: suspects.iter().map(suspect_row).collect::<Result<_, _>>()?,
        waiting: found.iter().map(|row| rows::waiting(row, 0)).collect::<Result<_, _>>()?,
    })
}

fn suspect_row(row: &Row) -> Result<Suspect, StoreError> {
    Ok(Suspect { offset: row.try_get(0)?, running: rows::number(row, 1)?, alone: rows::number(row, 2)? })
}

fn partition_id(row: &Row) -> Result<PartitionId, StoreError> {
    Ok(PartitionId {
        cluster: row.try_get::<_, &str>(0)?.into(),
        topic_id: row.try_get(1)?,
        topic: row.try_get::<_, &str>(2)?.into(),
        partition: row.try_get(3)?,
    })
}
