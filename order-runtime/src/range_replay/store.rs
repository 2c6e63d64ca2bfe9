//! The engine's store during a replay, in two parts: the replay's own positions and waiting events, and the service's entities
//! and deduplication windows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

use super::{Range, report::Outcomes};
use crate::{
    identity::{DedupEntry, DedupWindow, EventOutcome},
    model::PartitionId,
    store::{
        Assigned, AuditRow, Changes, Committed, EntityType, LetterMark, LetterStore, Listed, Load, Loaded, Outbox,
        OutboxStore, Page, PartitionStore, ReadModel, Store, StoreError, WaitingRow, memory::MemoryStore,
    },
};

/// The positions and waiting events of a replay, in memory.
pub(super) struct OwnPositions(MemoryStore);

impl OwnPositions {
    pub(super) async fn begin(ranges: &[Range]) -> Result<Self, StoreError> {
        let own = MemoryStore::default();
        for range in ranges {
            own.begin(&range.id, range.from).await?;
        }
        Ok(Self(own))
    }

    /// Whether the stored position and revision are those that the batch starts from.
    async fn is_at(&self, changes: &Changes) -> Result<bool, StoreError> {
        let stored = self.0.reload(&changes.partition).await?;
        Ok(stored.is_some_and(|stored| (stored.next_offset, stored.revision) == (changes.from, changes.revision)))
    }

    /// Commits a batch's position and waiting events.
    async fn commit(&self, changes: &Changes) -> Result<Committed, StoreError> {
        let own = Changes {
            waiting: changes.waiting.clone(),
            released: changes.released.clone(),
            proves: changes.proves,
            cleared: changes.cleared.clone(),
            ..Changes::of_position(changes.partition.clone(), changes.revision, changes.from, changes.to)
        };
        let answers = self.0.commit(vec![Arc::new(own)]).await?;
        Ok(answers.into_iter().next().unwrap_or(Committed::Fenced))
    }
}

/// The part of the store that holds the effects of batches.
#[async_trait]
pub(super) trait Effects: Send + Sync + 'static {
    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError>;
    /// Applies a batch without its position and waiting events.
    async fn apply(&self, changes: &Changes) -> Result<Committed, StoreError>;
}

/// The engine's store during a replay.
pub(super) struct ReplayStore<E> {
    own: OwnPositions,
    pub(super) effects: E,
}

impl<E> ReplayStore<E> {
    pub(super) fn of(own: OwnPositions, effects: E) -> Self {
        Self { own, effects }
    }
}

/// The engine's store during a replay that is not a shadow: effects go to the service's store.
pub(super) type RangeStore = ReplayStore<ServiceEffects>;

/// Writes effects to the service's store, under positions that the service does not use.
pub(super) struct ServiceEffects {
    store: Arc<dyn Store>,
    outcomes: Arc<Outcomes>,
    /// The full deduplication windows, as they were loaded. A full window may have forgotten events.
    full: Mutex<HashMap<Vec<u8>, DedupWindow>>,
    /// Offset and revision of each position that this replay uses in the service's store.
    places: Mutex<BTreeMap<PartitionId, Assigned>>,
}

impl RangeStore {
    pub(super) fn new(store: Arc<dyn Store>, own: OwnPositions, outcomes: Arc<Outcomes>) -> Self {
        Self::of(own, ServiceEffects { store, outcomes, full: Mutex::default(), places: Mutex::default() })
    }
}

/// A partition id that no instance consumes. The replay commits its effects with this partition's position, which stays at 0.
/// Event ids do not depend on the topic's name, so the events stay the same.
fn replay_partition(partition: &PartitionId) -> PartitionId {
    PartitionId { topic: format!("replay of {}", partition.topic).into(), ..partition.clone() }
}

impl ServiceEffects {
    /// The reason why the replay must stop, if there is one: a full window may have forgotten an event that it does not have, and
    /// the event would count again.
    fn doubt(&self, changes: &Changes) -> Option<String> {
        let full = self.full.lock();
        changes.windows.iter().find_map(|written| {
            let known = full.get(&written.key)?;
            let window = DedupWindow::from_bytes(written.bytes.clone()).ok()?;
            // Within a batch, an event that runs again may evict the next one, until the window has the same ids again.
            let is_doubtful = |entry: &DedupEntry<'_>| {
                known
                    .find(&entry.id, entry.source())
                    .is_none_or(|known| known.at != entry.at && known.outcome != EventOutcome::DeadLettered)
            };
            let event = window.iter().find(is_doubtful)?;
            Some(format!(
                "{}: a key has had more than {} events, so it is unknown whether the store has already had the event {}; \
                 start later, or use --shadow",
                changes.partition,
                DedupWindow::CAPACITY,
                event.id
            ))
        })
    }
}

#[async_trait]
impl Effects for ServiceEffects {
    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError> {
        let loaded = self.store.load(wanted).await?;
        let mut full = self.full.lock();
        for row in &loaded.windows {
            // The engine holds the events of a key whose window cannot be read.
            let window = DedupWindow::from_bytes(row.bytes.clone()).ok();
            if let Some(window) = window.filter(|window| window.iter().count() == DedupWindow::CAPACITY) {
                full.insert(row.key.clone(), window);
            }
        }
        Ok(loaded)
    }

    async fn apply(&self, changes: &Changes) -> Result<Committed, StoreError> {
        if let Some(why) = self.doubt(changes) {
            self.outcomes.doubt(why.clone());
            return Err(StoreError::Unusable(why));
        }
        let id = replay_partition(&changes.partition);
        // Removed, so that no lock is held during the store's work. If the batch is not applied, the position is read again.
        let known = self.places.lock().remove(&id);
        let place = match known {
            Some(place) => place,
            None => self.store.begin(&id, 0).await?,
        };
        let written = Changes {
            partition: id.clone(),
            from: place.next_offset,
            to: place.next_offset,
            revision: place.revision,
            waiting: Vec::new(),
            released: Vec::new(),
            cleared: Vec::new(),
            ..changes.clone()
        };
        let answers = self.store.commit(vec![Arc::new(written)]).await?;
        match answers.into_iter().next() {
            Some(Committed::Applied { revision }) => {
                self.places.lock().insert(id, Assigned { revision, ..place });
                Ok(Committed::Applied { revision })
            }
            // Another replay of the partition has committed: run the batch again.
            Some(Committed::Fenced) | None => Ok(Committed::Conflict),
            Some(other) => Ok(other),
        }
    }
}

#[async_trait]
impl<E: Effects> Store for ReplayStore<E> {
    fn kind(&self) -> &'static str {
        "replay"
    }

    fn durable(&self) -> bool {
        // A replay commits no offsets, so none has to wait for durability.
        true
    }

    async fn claim(&self, _group: &str) -> Result<Uuid, StoreError> {
        Ok(Uuid::nil())
    }

    async fn forget(&self, _until: Timestamp, _from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        // Only the service removes old rows.
        Ok(None)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl<E: Effects> PartitionStore for ReplayStore<E> {
    async fn assigned(&self, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError> {
        self.own.0.assigned(partitions).await
    }

    async fn reload(&self, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
        self.own.0.reload(partition).await
    }

    async fn begin(&self, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError> {
        self.own.0.begin(partition, next_offset).await
    }

    async fn knows_topic(&self, _partition: &PartitionId) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError> {
        self.effects.load(wanted).await
    }

    async fn commit(&self, changes: Vec<Arc<Changes>>) -> Result<Vec<Committed>, StoreError> {
        let mut answers = Vec::with_capacity(changes.len());
        for each in changes {
            // Checked first: the effects of a batch with an outdated position must not be written.
            let answer = if self.own.is_at(&each).await? {
                match self.effects.apply(&each).await? {
                    Committed::Applied { .. } => self.own.commit(&each).await?,
                    other => other,
                }
            } else {
                Committed::Fenced
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    async fn committable(&self, _partition: &PartitionId, position: i64) -> Result<i64, StoreError> {
        Ok(position)
    }

    async fn runs_alone(
        &self,
        partition: &PartitionId,
        assignment: i64,
        offset: Option<i64>,
    ) -> Result<u32, StoreError> {
        self.own.0.runs_alone(partition, assignment, offset).await
    }

    async fn ended(&self, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError> {
        self.own.0.ended(assignments).await
    }

    async fn waiting(&self, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError> {
        self.own.0.waiting(limit).await
    }

    async fn positions(&self) -> Result<Vec<(PartitionId, i64)>, StoreError> {
        self.own.0.positions().await
    }
}

#[async_trait]
impl<E: Effects> OutboxStore for ReplayStore<E> {
    async fn outbox(&self, _after: i64, _limit: usize) -> Result<Outbox, StoreError> {
        // The service's relay publishes them.
        Ok(Outbox::Rows(Vec::new()))
    }

    async fn published(&self, _rows: Vec<i64>) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl<E: Effects> ReadModel for ReplayStore<E> {
    async fn view(&self, _entity: EntityType, _id: &str) -> Result<Option<Value>, StoreError> {
        Ok(None)
    }

    async fn page(&self, _entity: EntityType, _page: Page) -> Result<Vec<Listed>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl<E: Effects> LetterStore for ReplayStore<E> {
    async fn window(&self, _key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    async fn mark(&self, _entry: AuditRow, _marks: Vec<LetterMark>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn marks(&self, _ids: Vec<String>) -> Result<Vec<LetterMark>, StoreError> {
        Ok(Vec::new())
    }

    async fn audit(&self, _limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        Ok(Vec::new())
    }
}
