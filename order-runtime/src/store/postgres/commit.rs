//! Applies the changes of several partitions in one transaction, without savepoints. Each partition's changes are applied or
//! rejected independently.
//!
//! Everything that is compared is first locked and read: positions, then absent rows, then rows of entities, then
//! deduplication windows, then waiting events. Each kind is locked in a fixed order, so that transactions never deadlock. The
//! changes that fit are then written in sets, all partitions together; the others are left out.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    Client,
    absence::{Absences, Hold},
    error,
    link::Link,
    sets,
    table::{Expected, PostgresTable},
};
use crate::store::{Changes, Committed, EntityType, StoreError};

/// How often a transaction is tried that conflicts with another one, for example because both insert the same rows.
const TRIES: usize = 3;

/// Why a transaction was rolled back.
enum Undone {
    /// Another transaction was faster. The transaction can be run again from its first read.
    Conflict,
    Failed(StoreError),
}

impl From<tokio_postgres::Error> for Undone {
    fn from(error: tokio_postgres::Error) -> Self {
        if error::is_conflict(&error) { Self::Conflict } else { Self::Failed(error.into()) }
    }
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Commits `changes`; see [`PartitionStore::commit`](crate::store::PartitionStore::commit).
pub(super) async fn commit(link: &Link, changes: &[Arc<Changes>]) -> Result<Vec<Committed>, StoreError> {
    match commit_all(link, changes).await {
        // Refused data fails the whole transaction. Committed one by one, only the changes that contain it are refused.
        Err(StoreError::Refused(_)) if changes.len() > 1 => {
            let mut answers = Vec::with_capacity(changes.len());
            for each in changes {
                answers.push(commit_one(link, each).await?);
            }
            Ok(answers)
        }
        Err(StoreError::Refused(reason)) => Ok(vec![Committed::Refused(reason)]),
        answers => answers,
    }
}

async fn commit_one(link: &Link, changes: &Arc<Changes>) -> Result<Committed, StoreError> {
    match commit_all(link, std::slice::from_ref(changes)).await {
        Ok(mut answers) => Ok(answers.pop().unwrap_or(Committed::Fenced)),
        Err(StoreError::Refused(reason)) => Ok(Committed::Refused(reason)),
        Err(error) => Err(error),
    }
}

async fn commit_all(link: &Link, changes: &[Arc<Changes>]) -> Result<Vec<Committed>, StoreError> {
    for _ in 0..TRIES {
        let tried = link
            .run(async |db: &Client| match transaction(db, changes).await {
                Ok(answers) => Ok(Some(answers)),
                Err(Undone::Conflict) => {
                    db.batch_execute("ROLLBACK").await?;
                    Ok(None)
                }
                Err(Undone::Failed(StoreError::Refused(reason))) => {
                    db.batch_execute("ROLLBACK").await?;
                    Err(StoreError::Refused(reason))
                }
                Err(Undone::Failed(error)) => Err(error),
            })
            .await?;
        if let Some(answers) = tried {
            return Ok(answers);
        }
    }
    Ok(vec![Committed::Conflict; changes.len()])
}

async fn transaction(db: &Client, changes: &[Arc<Changes>]) -> Result<Vec<Committed>, Undone> {
    db.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let mut found = Found::lock(db, changes).await?;
    let answers: Vec<Committed> = changes.iter().map(|each| found.judge(each)).collect::<Result<_, _>>()?;
    let fitting: Vec<(i64, &Changes)> = changes
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| matches!(answer, Committed::Applied { .. }))
        .filter_map(|(each, _)| Some((found.position(each)?.id, each.as_ref())))
        .collect();
    if fitting.is_empty() {
        db.batch_execute("ROLLBACK").await?;
        return Ok(answers);
    }
    write(db, &fitting).await?;
    db.batch_execute("COMMIT").await?;
    Ok(answers)
}

async fn write(db: &Client, fitting: &[(i64, &Changes)]) -> Result<(), Undone> {
    sets::advance(db, fitting).await?;
    for entity in types(fitting.iter().flat_map(|(_, each)| &each.entities)) {
        let parts: Vec<&(dyn Any + Send + Sync)> = fitting
            .iter()
            .flat_map(|(_, each)| &each.entities)
            .filter(|(of, _)| of.type_id == entity.type_id)
            .map(|(_, written)| written.as_ref())
            .collect();
        if !entity.postgres.save(db, &parts).await? {
            return Err(Undone::Conflict);
        }
    }
    if !sets::write_windows(db, fitting).await? {
        return Err(Undone::Conflict);
    }
    sets::release(db, fitting).await?;
    sets::insert_waiting(db, fitting).await?;
    sets::insert_outbox(db, fitting).await?;
    sets::remember(db, fitting).await?;
    sets::clear_suspects(db, fitting).await?;
    Ok(())
}

/// The distinct entity types of these parts.
fn types<'a>(parts: impl Iterator<Item = &'a (EntityType, Arc<dyn Any + Send + Sync>)>) -> Vec<EntityType> {
    let mut types: Vec<EntityType> = Vec::new();
    for (entity, _) in parts {
        if types.iter().all(|known| known.type_id != entity.type_id) {
            types.push(*entity);
        }
    }
    // Every transaction uses the same order of tables.
    types.sort_unstable_by_key(|entity| entity.name);
    types
}

/// The stored position of a partition.
#[derive(Debug, Clone, Copy)]
struct StoredPosition {
    id: i64,
    next_offset: i64,
    revision: i64,
}

type Identity = (String, Uuid, String, i32);

fn identity(changes: &Changes) -> Identity {
    let partition = &changes.partition;
    (partition.cluster.to_string(), partition.topic_id, partition.topic.to_string(), partition.partition)
}

/// The stored state that the changes are compared with, locked until the transaction ends. [`judge`](Self::judge) adds the
/// writes of each partition, so that it compares later partitions with them.
struct Found {
    positions: HashMap<Identity, StoredPosition>,
    /// Versions by table and id. A row without an entry does not exist; `None` is a row that this transaction writes.
    entities: HashMap<(&'static str, String), Option<u64>>,
    windows: HashMap<Vec<u8>, Option<u64>>,
    /// By position and offset.
    waiting: HashSet<(i64, i64)>,
}

impl Found {
    async fn lock(db: &Client, changes: &[Arc<Changes>]) -> Result<Self, Undone> {
        let mut found = Self {
            positions: HashMap::new(),
            entities: HashMap::new(),
            windows: HashMap::new(),
            waiting: HashSet::new(),
        };
        // Pipelined: the second statement is sent without waiting for the answer to the first.
        let absences = absences(changes)?;
        let (positions, ()) =
            futures_util::future::try_join(sets::lock_positions(db, changes), sets::lock_numbers(db, &absences.0))
                .await?;
        for (identity, id, next_offset, revision) in positions {
            found.positions.insert(identity, StoredPosition { id, next_offset, revision });
        }
        let parts = || changes.iter().flat_map(|each| each.entities.iter().chain(&each.reads));
        for entity in types(parts()) {
            let mut ids = Vec::new();
            for each in changes {
                ids.extend(expected(entity, each)?.into_iter().map(|(id, _)| id));
            }
            ids.sort_unstable();
            ids.dedup();
            let (table, column) = entity.postgres.names();
            for (id, version) in sets::lock_versions(db, table, column, &ids).await? {
                found.entities.insert((table, id), Some(version));
            }
        }
        let mut keys: Vec<&[u8]> = changes
            .iter()
            .flat_map(|each| &each.windows)
            .filter(|window| window.version > 0)
            .map(|window| &*window.key)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        for (key, version) in sets::lock_windows(db, &keys).await? {
            found.windows.insert(key, Some(version));
        }
        let released: Vec<(i64, i64)> = changes
            .iter()
            .filter_map(|each| Some((found.position(each)?.id, each)))
            .flat_map(|(id, each)| each.released.iter().map(move |offset| (id, *offset)))
            .collect();
        found.waiting = sets::lock_waiting(db, &released).await?;
        Ok(found)
    }

    fn position(&self, changes: &Changes) -> Option<StoredPosition> {
        self.positions.get(&identity(changes)).copied()
    }

    fn judge(&mut self, changes: &Changes) -> Result<Committed, StoreError> {
        let Some(place) = self.position(changes) else { return Ok(Committed::Fenced) };
        if place.next_offset != changes.from || place.revision != changes.revision {
            return Ok(Committed::Fenced);
        }
        if !self.fits(changes, place)? {
            return Ok(Committed::Conflict);
        }
        self.note(changes, place)?;
        Ok(Committed::Applied { revision: changes.revision + 1 })
    }

    fn fits(&self, changes: &Changes, place: StoredPosition) -> Result<bool, StoreError> {
        for entity in types(changes.entities.iter().chain(&changes.reads)) {
            let (table, _) = entity.postgres.names();
            for (id, version) in expected(entity, changes)? {
                let there = self.entities.get(&(table, id)).copied().unwrap_or(Some(0));
                if there != Some(version) {
                    return Ok(false);
                }
            }
        }
        for window in &changes.windows {
            // A window that must not exist is not locked; its insert detects the conflict.
            let there = self.windows.get(&window.key).copied().unwrap_or(Some(0));
            if there != Some(window.version) {
                return Ok(false);
            }
        }
        let released: HashSet<i64> = changes.released.iter().copied().collect();
        let all_there = released.iter().all(|offset| self.waiting.contains(&(place.id, *offset)));
        Ok(all_there && released.len() == changes.released.len())
    }

    /// Adds the writes of these changes.
    fn note(&mut self, changes: &Changes, place: StoredPosition) -> Result<(), StoreError> {
        self.positions.insert(
            identity(changes),
            StoredPosition { next_offset: changes.to, revision: changes.revision + 1, ..place },
        );
        for (entity, written) in &changes.entities {
            let (table, _) = entity.postgres.names();
            let written: &(dyn Any + Send + Sync) = written.as_ref();
            for (id, _) in entity.postgres.written(written)? {
                self.entities.insert((table, id), None);
            }
        }
        for window in &changes.windows {
            self.windows.insert(window.key.clone(), None);
        }
        Ok(())
    }
}

/// The locks for absent rows: those that the changes insert, and those that they have read as absent.
fn absences(changes: &[Arc<Changes>]) -> Result<Absences, StoreError> {
    let mut absences = Absences::default();
    for each in changes {
        for (entity, written) in &each.entities {
            let (table, _) = entity.postgres.names();
            let written: &(dyn Any + Send + Sync) = written.as_ref();
            absences.add(table, &entity.postgres.written(written)?, Hold::Shared);
        }
        for (entity, read) in &each.reads {
            let (table, _) = entity.postgres.names();
            let read: &(dyn Any + Send + Sync) = read.as_ref();
            absences.add(table, &entity.postgres.read(read)?, Hold::Alone);
        }
    }
    Ok(absences)
}

/// The versions that changes expect of the rows of a type, both written and read ones.
fn expected(entity: EntityType, changes: &Changes) -> Result<Vec<Expected>, StoreError> {
    let table: &dyn PostgresTable = entity.postgres;
    let mut all = Vec::new();
    for (of, written) in &changes.entities {
        if of.type_id == entity.type_id {
            let written: &(dyn Any + Send + Sync) = written.as_ref();
            all.extend(table.written(written)?);
        }
    }
    for (of, read) in &changes.reads {
        if of.type_id == entity.type_id {
            let read: &(dyn Any + Send + Sync) = read.as_ref();
            all.extend(table.read(read)?);
        }
    }
    Ok(all)
}
