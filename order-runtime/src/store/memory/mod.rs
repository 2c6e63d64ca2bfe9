//! The store in memory, for tests and for services whose events need no durable store.

mod outbox;
mod partition;
mod table;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use foldhash::fast::RandomState;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

pub(crate) use self::table::{MemoryTable, Tables, new_table};
use self::{outbox::Outbox, partition::StoredPartition};
use super::{
    Assigned, AuditRow, Changes, Committed, DeadLetterRow, DedupRow, EntityType, LetterMark, LetterStore, Listed, Load,
    Loaded, MarkState, OutboxStore, Page, PartitionStore, ReadModel, Store, StoreError, WaitingRow,
};
use crate::{
    model::{DeadLetterId, PartitionId},
    store,
};

/// A store in memory. Its content ends with the process.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    owner: Option<(Uuid, String)>,
    partitions: BTreeMap<PartitionId, StoredPartition>,
    tables: Tables,
    /// Boxed slices, because a vector would waste its spare capacity once for each key.
    windows: HashMap<Box<[u8]>, DedupWindow, RandomState>,
    outbox: Outbox,
    dead_letters: HashMap<DeadLetterId, Arc<DeadLetterRow>, RandomState>,
    marks: BTreeMap<(String, u32), LetterMark>,
    audit: BTreeMap<Uuid, AuditRow>,
}

struct DedupWindow {
    version: u64,
    bytes: Box<[u8]>,
    written: Timestamp,
}

impl State {
    fn commit(&mut self, changes: &Changes) -> Result<Committed, StoreError> {
        // All comparisons come before the first change, so that nothing must be undone.
        let Some(partition) = self.partitions.get(&changes.partition) else {
            return Ok(Committed::Fenced);
        };
        if !partition.is_at(changes.from, changes.revision) {
            return Ok(Committed::Fenced);
        }
        if !partition.can_release(&changes.released) || !self.rows_are_as_read(changes)? {
            return Ok(Committed::Conflict);
        }
        self.apply(changes)
    }

    fn rows_are_as_read(&mut self, changes: &Changes) -> Result<bool, StoreError> {
        if !self.tables.are_as_read(changes)? {
            return Ok(false);
        }
        let version = |key: &[u8]| self.windows.get(key).map_or(0, |window| window.version);
        Ok(changes.windows.iter().all(|window| version(&window.key) == window.version))
    }

    fn apply(&mut self, changes: &Changes) -> Result<Committed, StoreError> {
        self.tables.save(changes)?;
        let now = Timestamp::now();
        for DedupRow { key, version, bytes } in &changes.windows {
            let written = DedupWindow { version: version + 1, bytes: bytes.as_slice().into(), written: now };
            match self.windows.get_mut(key.as_slice()) {
                Some(window) => *window = written,
                None => {
                    self.windows.insert(key.as_slice().into(), written);
                }
            }
        }
        for letter in &changes.dead_letters {
            self.dead_letters.insert(letter.dlq_id, Arc::clone(letter));
        }
        let partition = self.partitions.entry(changes.partition.clone()).or_default();
        self.outbox.add(&changes.partition, &changes.outbox);
        let revision = partition.advance(changes);
        Ok(Committed::Applied { revision })
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn durable(&self) -> bool {
        false
    }

    async fn claim(&self, group: &str) -> Result<Uuid, StoreError> {
        let mut state = self.state.lock();
        let (id, owner) = state.owner.get_or_insert_with(|| (Uuid::new_v4(), group.to_owned()));
        if owner != group {
            return Err(StoreError::ForeignGroup { owner: owner.clone(), asked: group.to_owned() });
        }
        Ok(*id)
    }

    async fn forget(&self, until: Timestamp, _from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        let mut state = self.state.lock();
        state.windows.retain(|_, window| window.written >= until);
        state.dead_letters.retain(|_, letter| letter.at >= until);
        state.marks.retain(|_, mark| mark.at >= until);
        state.audit.retain(|_, entry| entry.at >= until);
        Ok(None)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl PartitionStore for MemoryStore {
    async fn assigned(&self, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError> {
        let mut state = self.state.lock();
        let answers = partitions.iter().map(|partition| {
            let known = state.partitions.get_mut(partition)?;
            known.assign();
            Some(known.assigned())
        });
        Ok(answers.collect())
    }

    async fn reload(&self, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
        Ok(self.state.lock().partitions.get(partition).map(StoredPartition::assigned))
    }

    async fn begin(&self, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError> {
        let mut state = self.state.lock();
        let stored = state.partitions.entry(partition.clone()).and_modify(StoredPartition::assign);
        Ok(stored.or_insert_with(|| StoredPartition::begin(next_offset)).assigned())
    }

    async fn knows_topic(&self, partition: &PartitionId) -> Result<bool, StoreError> {
        let topic = |id: &PartitionId| {
            (id.cluster == partition.cluster) && (id.topic_id == partition.topic_id) && (id.topic == partition.topic)
        };
        Ok(self.state.lock().partitions.keys().any(topic))
    }

    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError> {
        let mut state = self.state.lock();
        let mut loaded = Loaded { entities: state.tables.load(&wanted)?, ..Loaded::default() };
        for key in wanted.windows {
            if let Some(window) = state.windows.get(key.as_slice()) {
                loaded.windows.push(DedupRow { key, version: window.version, bytes: window.bytes.to_vec() });
            }
        }
        let letters = wanted.dead_letters.iter().filter_map(|id| state.dead_letters.get(id));
        loaded.dead_letters = letters.map(|letter| DeadLetterRow::clone(letter)).collect();
        Ok(loaded)
    }

    async fn commit(&self, changes: Vec<Arc<Changes>>) -> Result<Vec<Committed>, StoreError> {
        let mut state = self.state.lock();
        let answers = changes.iter().map(|each| match state.commit(each) {
            Err(StoreError::Refused(reason)) => Ok(Committed::Refused(reason)),
            other => other,
        });
        answers.collect()
    }

    async fn committable(&self, partition: &PartitionId, position: i64) -> Result<i64, StoreError> {
        let state = self.state.lock();
        let waiting = state.partitions.get(partition).and_then(StoredPartition::lowest_waiting);
        Ok(waiting.into_iter().chain(state.outbox.lowest(partition)).fold(position, i64::min))
    }

    async fn runs_alone(
        &self,
        partition: &PartitionId,
        assignment: i64,
        offset: Option<i64>,
    ) -> Result<u32, StoreError> {
        let mut state = self.state.lock();
        Ok(state.partitions.get_mut(partition).map_or(0, |partition| partition.runs_alone(assignment, offset)))
    }

    async fn ended(&self, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for (partition, assignment) in assignments {
            if let Some(known) = state.partitions.get_mut(partition) {
                known.ended(*assignment);
            }
        }
        Ok(())
    }

    async fn waiting(&self, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError> {
        let state = self.state.lock();
        let rows = state
            .partitions
            .iter()
            .flat_map(|(id, partition)| partition.waiting.values().map(|row| (id.clone(), row.clone())));
        Ok(rows.take(limit).collect())
    }

    async fn positions(&self) -> Result<Vec<(PartitionId, i64)>, StoreError> {
        let state = self.state.lock();
        Ok(state.partitions.iter().map(|(id, partition)| (id.clone(), partition.next_offset)).collect())
    }
}

#[async_trait]
impl OutboxStore for MemoryStore {
    async fn outbox(&self, after: i64, limit: usize) -> Result<store::Outbox, StoreError> {
        Ok(store::Outbox::Rows(self.state.lock().outbox.after(after, limit)))
    }

    async fn published(&self, rows: Vec<i64>) -> Result<(), StoreError> {
        self.state.lock().outbox.published(rows);
        Ok(())
    }
}

#[async_trait]
impl ReadModel for MemoryStore {
    async fn view(&self, entity: EntityType, id: &str) -> Result<Option<Value>, StoreError> {
        Ok(self.state.lock().tables.of(entity).view(id))
    }

    async fn page(&self, entity: EntityType, page: Page) -> Result<Vec<Listed>, StoreError> {
        Ok(self.state.lock().tables.of(entity).page(&page))
    }
}

#[async_trait]
impl LetterStore for MemoryStore {
    async fn window(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.lock().windows.get(key.as_slice()).map(|window| window.bytes.to_vec()))
    }

    async fn mark(&self, entry: AuditRow, marks: Vec<LetterMark>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for mark in marks {
            let letter = (mark.dlq_id.clone(), mark.replays);
            if mark.state == MarkState::Open {
                state.marks.remove(&letter);
            } else {
                state.marks.insert(letter, mark);
            }
        }
        match state.audit.get_mut(&entry.id) {
            Some(known) => known.letters += entry.letters,
            None => {
                state.audit.insert(entry.id, entry);
            }
        }
        Ok(())
    }

    async fn marks(&self, ids: Vec<String>) -> Result<Vec<LetterMark>, StoreError> {
        let state = self.state.lock();
        let of = |id: String| state.marks.range((id.clone(), 0)..=(id, u32::MAX)).map(|(_, mark)| mark.clone());
        Ok(ids.into_iter().flat_map(of).collect())
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let mut rows: Vec<AuditRow> = self.state.lock().audit.values().cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.at));
        rows.truncate(limit);
        Ok(rows)
    }
}
