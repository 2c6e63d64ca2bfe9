//! A consistent snapshot of a store, and a check of its positions against the outcomes.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    plan::{Expected, Plan},
    producer::Acknowledged,
};

/// The partition and offset of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A store's content, read in one transaction.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The next offset of each partition.
    pub positions: HashMap<i32, i64>,
    /// The prefix of the ids of records without an event id, by partition.
    pub id_prefixes: HashMap<i32, String>,
    /// The entries of each ledger, in the order of application.
    pub ledgers: HashMap<String, Vec<u32>>,
    /// Waiting records.
    pub waiting: BTreeSet<Place>,
    /// Source records of dead letters that are still in the outbox.
    pub outbox: BTreeSet<Place>,
    /// The event ids of all dead letters.
    pub dead: HashSet<String>,
}

impl Snapshot {
    /// Checks that nothing is waiting or in the outbox, and that every record below these ends is below a position.
    pub fn is_settled(&self, ends: &HashMap<i32, i64>) -> Result<(), String> {
        let behind: i64 = ends.iter().map(|(partition, end)| end - self.positions.get(partition).unwrap_or(&0)).sum();
        if behind == 0 && self.waiting.is_empty() && self.outbox.is_empty() {
            return Ok(());
        }
        let [waiting, outbox] = [&self.waiting, &self.outbox].map(BTreeSet::len);
        Err(format!("{behind} records are not handled, {waiting} wait, {outbox} are in the outbox"))
    }

    /// Events whose position and outcome are inconsistent: below the position without an outcome and not waiting, waiting despite
    /// an outcome, or with an outcome and not below the position.
    pub fn misplaced(&self, plan: &Plan, acknowledged: &[Acknowledged]) -> Vec<String> {
        let ledgers: HashMap<&str, HashSet<u32>> =
            self.ledgers.iter().map(|(key, entries)| (key.as_str(), entries.iter().copied().collect())).collect();
        let mut misplaced = Vec::new();
        for &Acknowledged { place, event: index, .. } in acknowledged.iter().filter(|record| record.is_first) {
            let event = &plan.events[index];
            let has_outcome = match event.expected {
                Expected::Applied => {
                    ledgers.get(event.key.as_str()).is_some_and(|entries| entries.contains(&event.entry))
                }
                Expected::Dead(_) => {
                    let id = event.id.clone().or_else(|| {
                        self.id_prefixes.get(&place.partition).map(|prefix| format!("{prefix}/{}", place.offset))
                    });
                    id.is_some_and(|id| self.dead.contains(&id))
                }
            };
            let waits = self.waiting.contains(&place);
            let below = place.offset < self.positions.get(&place.partition).copied().unwrap_or(0);
            if below != (has_outcome || waits) || (has_outcome && waits) {
                misplaced.push(format!(
                    "event {index} at {place:?} ({:?}): below the position: {below}, outcome: {has_outcome}, waiting: {waits}",
                    event.expected
                ));
            }
        }
        misplaced
    }
}
