//! The engine runs on a view of the store, and what it writes stays in memory.
//!
//! A range that begins with the first record that its partitions ever had runs on an empty view: every event as for the first
//! time, on what the events before it have made. Any other range runs on the store as it is: what the store has handled is a
//! repeat, and what it has dead-lettered or does not know runs.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    Range,
    report::{Outcome, Outcomes},
    store::{Effects, Halves, OwnPositions},
};
use crate::{
    identity::{Fate, Ring},
    model::DeadLetterId,
    store::{Changes, Committed, DeadLetterRow, EntityType, Load, Loaded, RingRow, Store, StoreError, memory::Tables},
};

/// A replay that changes nothing.
pub(super) type ShadowStore = Halves<Shadow>;

/// A copy-on-write view of a store.
pub(super) struct Shadow {
    store: Arc<dyn Store>,
    /// Nothing of the store is seen.
    empty: bool,
    outcomes: Arc<Outcomes>,
    overlay: Mutex<Overlay>,
}

#[derive(Default)]
struct Overlay {
    tables: Tables,
    rings: HashMap<Vec<u8>, RingRow>,
    dead_letters: HashMap<DeadLetterId, DeadLetterRow>,
}

impl ShadowStore {
    pub(super) fn new(store: Arc<dyn Store>, own: OwnPositions, outcomes: Arc<Outcomes>, ranges: &[Range]) -> Self {
        let empty = ranges.iter().all(|range| range.from == 0);
        Self::of(own, Shadow { store, empty, outcomes, overlay: Mutex::default() })
    }
}

impl Overlay {
    /// What of `wanted` is not here.
    fn missing(&mut self, wanted: &Load) -> Result<Load, StoreError> {
        let mut missing = Load::default();
        for (entity, ids) in &wanted.entities {
            let ids: &(dyn Any + Send) = ids.as_ref();
            missing.entities.push((*entity, self.tables.of(*entity).missing(ids)?));
        }
        missing.rings = wanted.rings.iter().filter(|key| !self.rings.contains_key(*key)).cloned().collect();
        let letters = wanted.dead_letters.iter().filter(|id| !self.dead_letters.contains_key(*id));
        missing.dead_letters = letters.copied().collect();
        Ok(missing)
    }

    /// Copies rows of the store; what is here already stays.
    fn absorb(&mut self, types: &[EntityType], loaded: Loaded) -> Result<(), StoreError> {
        for (entity, rows) in types.iter().zip(&loaded.entities) {
            let rows: &(dyn Any + Send) = rows.as_ref();
            self.tables.of(*entity).absorb(rows)?;
        }
        for ring in loaded.rings {
            let ring = RingRow { bytes: without_dead_letters(ring.bytes), ..ring };
            self.rings.entry(ring.key.clone()).or_insert(ring);
        }
        for letter in loaded.dead_letters {
            self.dead_letters.entry(letter.dlq_id).or_insert(letter);
        }
        Ok(())
    }

    fn answer(&mut self, wanted: &Load) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded { entities: self.tables.load(wanted)?, ..Loaded::default() };
        loaded.rings = wanted.rings.iter().filter_map(|key| self.rings.get(key).cloned()).collect();
        loaded.dead_letters = wanted.dead_letters.iter().filter_map(|id| self.dead_letters.get(id).cloned()).collect();
        Ok(loaded)
    }

    fn fits(&mut self, changes: &Changes) -> Result<bool, StoreError> {
        if !self.tables.are_as_read(changes)? {
            return Ok(false);
        }
        let version = |key: &Vec<u8>| self.rings.get(key).map_or(0, |ring| ring.version);
        Ok(changes.rings.iter().all(|ring| version(&ring.key) == ring.version))
    }

    /// Writes, and answers what became of which event.
    fn write(&mut self, changes: &Changes) -> Result<Vec<Outcome>, StoreError> {
        self.tables.save(changes)?;
        let mut outcomes = Vec::new();
        for ring in &changes.rings {
            let read = |bytes: &[u8]| {
                Ring::from_bytes(bytes.to_vec()).map_err(|unreadable| StoreError::Unusable(unreadable.to_string()))
            };
            let before = self.rings.get(&ring.key).map(|ring| read(&ring.bytes)).transpose()?.unwrap_or_default();
            let known: HashSet<_> = before.iter().map(|entry| (entry.id.clone(), entry.at)).collect();
            for entry in read(&ring.bytes)?.iter() {
                if !known.contains(&(entry.id.clone(), entry.at)) {
                    outcomes.push(Outcome::of(&ring.key, &entry));
                }
            }
            let written = RingRow { version: ring.version + 1, ..ring.clone() };
            self.rings.insert(ring.key.clone(), written);
        }
        for letter in &changes.dead_letters {
            match outcomes.iter_mut().find(|outcome| outcome.event_id == letter.event_id) {
                Some(outcome) => outcome.code = letter.code.clone().into_owned(),
                None => outcomes.push(Outcome::nameless(letter)),
            }
            self.dead_letters.insert(letter.dlq_id, (**letter).clone());
        }
        Ok(outcomes)
    }
}

/// A ring that has forgotten which events were dead-lettered, so that they run again. One that cannot be read stays as it is: the
/// engine holds the events of its key.
fn without_dead_letters(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(ring) = Ring::from_bytes(bytes.clone()) else { return bytes };
    let mut kept = Ring::default();
    for entry in ring.iter().filter(|entry| entry.fate != Fate::DeadLettered) {
        kept.push(&entry);
    }
    kept.as_bytes().to_vec()
}

#[async_trait]
impl Effects for Shadow {
    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError> {
        if !self.empty {
            let missing = self.overlay.lock().missing(&wanted)?;
            let types: Vec<EntityType> = missing.entities.iter().map(|(entity, _)| *entity).collect();
            let loaded = self.store.load(missing).await?;
            self.overlay.lock().absorb(&types, loaded)?;
        }
        self.overlay.lock().answer(&wanted)
    }

    async fn apply(&self, changes: &Changes) -> Result<Committed, StoreError> {
        let outcomes = {
            let mut overlay = self.overlay.lock();
            if !overlay.fits(changes)? {
                return Ok(Committed::Conflict);
            }
            overlay.write(changes)?
        };
        let remembered = self
            .store
            .load(Load {
                rings: changes.rings.iter().map(|ring| ring.key.clone()).collect(),
                dead_letters: changes.dead_letters.iter().map(|letter| letter.dlq_id).collect(),
                ..Load::default()
            })
            .await?;
        self.outcomes.compare(&changes.partition, outcomes, &remembered);
        Ok(Committed::Applied { revision: changes.revision + 1 })
    }
}
