//! The store of a shadow replay: a view of the service's store, whose writes stay in memory.
//!
//! If every range starts at offset 0, the view is empty: every event runs as if for the first time, on the effects of the events
//! before it. Otherwise the view shows the store as it is: an event that the store has as handled is a repeat, and an event that
//! it has dead-lettered or does not know runs.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{
    Range,
    report::{Outcomes, RangeOutcome},
    store::{Effects, OwnPositions, ReplayStore},
};
use crate::{
    identity::{DedupWindow, EventOutcome},
    model::DeadLetterId,
    store::{Changes, Committed, DeadLetterRow, DedupRow, EntityType, Load, Loaded, Store, StoreError, memory::Tables},
};

/// The engine's store during a shadow replay, which changes nothing.
pub(super) type ShadowStore = ReplayStore<Shadow>;

/// A copy-on-write view of a store.
pub(super) struct Shadow {
    store: Arc<dyn Store>,
    /// Whether the view is empty.
    empty: bool,
    outcomes: Arc<Outcomes>,
    overlay: Mutex<Overlay>,
}

#[derive(Default)]
struct Overlay {
    tables: Tables,
    windows: HashMap<Vec<u8>, DedupRow>,
    dead_letters: HashMap<DeadLetterId, DeadLetterRow>,
}

impl ShadowStore {
    pub(super) fn new(store: Arc<dyn Store>, own: OwnPositions, outcomes: Arc<Outcomes>, ranges: &[Range]) -> Self {
        let empty = ranges.iter().all(|range| range.from == 0);
        let overlay = Mutex::new(Overlay { tables: Tables::overlay(), ..Overlay::default() });
        Self::of(own, Shadow { store, empty, outcomes, overlay })
    }
}

impl Overlay {
    /// The part of `wanted` that the overlay does not have.
    fn missing(&mut self, wanted: &Load) -> Result<Load, StoreError> {
        let mut missing = Load::default();
        for (entity, ids) in &wanted.entities {
            let ids: &(dyn Any + Send) = ids.as_ref();
            missing.entities.push((*entity, self.tables.of(*entity).missing(ids)?));
        }
        missing.windows = wanted.windows.iter().filter(|key| !self.windows.contains_key(*key)).cloned().collect();
        let letters = wanted.dead_letters.iter().filter(|id| !self.dead_letters.contains_key(*id));
        missing.dead_letters = letters.copied().collect();
        Ok(missing)
    }

    /// Copies rows of the store into the overlay; rows that the overlay already has are kept.
    fn absorb(&mut self, types: &[EntityType], loaded: Loaded) -> Result<(), StoreError> {
        for (entity, rows) in types.iter().zip(&loaded.entities) {
            let rows: &(dyn Any + Send) = rows.as_ref();
            self.tables.of(*entity).absorb(rows)?;
        }
        for window in loaded.windows {
            let window = DedupRow { bytes: without_dead_letters(window.bytes), ..window };
            self.windows.entry(window.key.clone()).or_insert(window);
        }
        for letter in loaded.dead_letters {
            self.dead_letters.entry(letter.dlq_id).or_insert(letter);
        }
        Ok(())
    }

    fn answer(&mut self, wanted: &Load) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded { entities: self.tables.load(wanted)?, ..Loaded::default() };
        loaded.windows = wanted.windows.iter().filter_map(|key| self.windows.get(key).cloned()).collect();
        loaded.dead_letters = wanted.dead_letters.iter().filter_map(|id| self.dead_letters.get(id).cloned()).collect();
        Ok(loaded)
    }

    fn fits(&mut self, changes: &Changes) -> Result<bool, StoreError> {
        if !self.tables.are_as_read(changes)? {
            return Ok(false);
        }
        let version = |key: &Vec<u8>| self.windows.get(key).map_or(0, |window| window.version);
        Ok(changes.windows.iter().all(|window| version(&window.key) == window.version))
    }

    /// Writes the changes into the overlay, and returns the outcomes of their events.
    fn write(&mut self, changes: &Changes) -> Result<Vec<RangeOutcome>, StoreError> {
        self.tables.save(changes)?;
        let mut outcomes = Vec::new();
        for window in &changes.windows {
            let read = |bytes: &[u8]| {
                DedupWindow::from_bytes(bytes.to_vec())
                    .map_err(|unreadable| StoreError::Unusable(unreadable.to_string()))
            };
            let before =
                self.windows.get(&window.key).map(|window| read(&window.bytes)).transpose()?.unwrap_or_default();
            let known: HashSet<_> = before.iter().map(|entry| (entry.id.clone(), entry.at)).collect();
            for entry in read(&window.bytes)?.iter() {
                if !known.contains(&(entry.id.clone(), entry.at)) {
                    outcomes.push(RangeOutcome::of(&window.key, &entry));
                }
            }
            let written = DedupRow { version: window.version + 1, ..window.clone() };
            self.windows.insert(window.key.clone(), written);
        }
        for letter in &changes.dead_letters {
            match outcomes.iter_mut().find(|outcome| outcome.event_id == letter.event_id) {
                Some(outcome) => outcome.code = letter.code.clone().into_owned(),
                None => outcomes.push(RangeOutcome::nameless(letter)),
            }
            self.dead_letters.insert(letter.dlq_id, (**letter).clone());
        }
        Ok(outcomes)
    }
}

/// A deduplication window without its dead-lettered events, so that they run again. An unreadable window is returned unchanged:
/// the engine holds the events of its key.
fn without_dead_letters(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(window) = DedupWindow::from_bytes(bytes.clone()) else { return bytes };
    let mut kept = DedupWindow::default();
    for entry in window.iter().filter(|entry| entry.outcome != EventOutcome::DeadLettered) {
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
                windows: changes.windows.iter().map(|window| window.key.clone()).collect(),
                dead_letters: changes.dead_letters.iter().map(|letter| letter.dlq_id).collect(),
                ..Load::default()
            })
            .await?;
        self.outcomes.compare(&changes.partition, outcomes, &remembered);
        Ok(Committed::Applied { revision: changes.revision + 1 })
    }
}
