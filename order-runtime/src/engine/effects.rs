//! What one batch of one partition will change once it is committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;

use super::{identity::Ring, status::Tally, told::Notables, waiting::Lane};
use crate::store::{DeadLetterRow, OutboxRecord, RingRow, WaitingRow};

/// The effects of a batch, collected while its events are handled.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    rings: HashMap<Vec<u8>, LoadedRing, RandomState>,
    /// Rows to write, by offset.
    pub(crate) waiting: BTreeMap<i64, WaitingRow>,
    /// Waiting rows that are settled, by offset, with their lanes.
    pub(crate) released: BTreeMap<i64, Lane>,
    pub(crate) outbox: Vec<OutboxRecord>,
    pub(crate) dead_letters: Vec<DeadLetterRow>,
    /// Dead letters that were loaded because a record says that it is a replay of one.
    pub(crate) known_dead_letters: HashMap<String, DeadLetterRow, RandomState>,
    pub(crate) tally: Tally,
    /// Events that the log tells of.
    pub(crate) notables: Notables,
    /// Bytes of the records that the batch took.
    pub(crate) bytes: usize,
    /// Rings that were asked for in the store, also those that were not there.
    loaded: BTreeSet<Vec<u8>>,
}

#[derive(Debug, Default)]
struct LoadedRing {
    version: u64,
    ring: Ring,
    changed: bool,
}

impl Effects {
    /// Whether the store was asked for this ring.
    pub(crate) fn has_ring(&self, key: &[u8]) -> bool {
        self.loaded.contains(key)
    }

    /// Takes in rings that were asked for and those that were found.
    pub(crate) fn add_rings(&mut self, asked: Vec<Vec<u8>>, found: Vec<RingRow>) {
        self.loaded.extend(asked);
        for row in found {
            let ring = LoadedRing { version: row.version, ring: Ring::from_bytes(row.bytes), changed: false };
            self.rings.entry(row.key).or_insert(ring);
        }
    }

    /// The ring of a key, as the events of this batch see it.
    pub(crate) fn ring(&self, key: &[u8]) -> Option<&Ring> {
        self.rings.get(key).map(|loaded| &loaded.ring)
    }

    /// The ring of a key, to be changed.
    pub(crate) fn ring_mut(&mut self, key: Vec<u8>) -> &mut Ring {
        let loaded = self.rings.entry(key).or_default();
        loaded.changed = true;
        &mut loaded.ring
    }

    /// The rings to write, in one order for all writers.
    pub(crate) fn changed_rings(&self) -> Vec<RingRow> {
        let mut rows: Vec<RingRow> = self
            .rings
            .iter()
            .filter(|(_, loaded)| loaded.changed)
            .map(|(key, loaded)| RingRow {
                key: key.clone(),
                version: loaded.version,
                bytes: loaded.ring.as_bytes().to_vec(),
            })
            .collect();
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}
