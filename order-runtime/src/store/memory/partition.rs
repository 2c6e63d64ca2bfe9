//! One partition in memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Assigned, Changes, Suspect, WaitingRow, WaitingState};

#[derive(Default)]
pub(super) struct StoredPartition {
    pub(super) next_offset: i64,
    revision: i64,
    starts: u32,
    assignment: i64,
    /// Whether the owner of the last assignment has not ended normally.
    owned: bool,
    /// By offset.
    suspects: BTreeMap<i64, Suspect>,
    /// The offset of the event that runs alone.
    alone: Option<i64>,
    /// By offset.
    pub(super) waiting: BTreeMap<i64, WaitingRow>,
}

impl StoredPartition {
    /// A new partition. The assignment that found no position counts as the first start.
    pub(super) fn begin(next_offset: i64) -> Self {
        Self { next_offset, starts: 1, assignment: 1, owned: true, ..Self::default() }
    }

    /// Counts an assignment and fences the previous owner. If that owner died, the events that were running or ran alone
    /// become suspects.
    pub(super) fn assign(&mut self) {
        if self.owned {
            for row in self.waiting.values().filter(|row| row.state == WaitingState::Running) {
                suspect(&mut self.suspects, row.offset).running += 1;
            }
            if let Some(offset) = self.alone {
                suspect(&mut self.suspects, offset).alone += 1;
            }
        }
        self.alone = None;
        self.revision += 1;
        self.starts += 1;
        self.assignment += 1;
        self.owned = true;
    }

    /// Notes that the owner of this assignment has ended normally, unless another assignment has followed.
    pub(super) fn ended(&mut self, assignment: i64) {
        if self.owned && self.assignment == assignment {
            self.starts = self.starts.saturating_sub(1);
            self.alone = None;
            self.owned = false;
        }
    }

    pub(super) fn assigned(&self) -> Assigned {
        Assigned {
            next_offset: self.next_offset,
            revision: self.revision,
            starts: self.starts,
            assignment: self.assignment,
            suspects: self.suspects.values().copied().collect(),
            waiting: self.waiting.values().cloned().collect(),
        }
    }

    pub(super) fn is_at(&self, next_offset: i64, revision: i64) -> bool {
        self.next_offset == next_offset && self.revision == revision
    }

    /// Whether every offset is that of a waiting event and none occurs twice.
    pub(super) fn can_release(&self, offsets: &[i64]) -> bool {
        let distinct: BTreeSet<_> = offsets.iter().collect();
        distinct.len() == offsets.len() && offsets.iter().all(|offset| self.waiting.contains_key(offset))
    }

    /// Changes the position, the waiting events and the suspects, and returns the new revision.
    pub(super) fn advance(&mut self, changes: &Changes) -> i64 {
        for offset in &changes.released {
            self.waiting.remove(offset);
        }
        for row in &changes.waiting {
            self.waiting.insert(row.offset, row.clone());
        }
        self.next_offset = changes.to;
        self.revision += 1;
        if changes.proves {
            self.starts = 0;
        }
        for offset in &changes.cleared {
            self.suspects.remove(offset);
            self.alone.take_if(|alone| alone == offset);
        }
        self.revision
    }

    /// Notes which event runs alone, and returns how often an owner has died while it ran alone.
    pub(super) fn runs_alone(&mut self, assignment: i64, offset: Option<i64>) -> u32 {
        if !self.owned || self.assignment != assignment {
            return 0;
        }
        self.alone = offset;
        offset.map_or(0, |offset| suspect(&mut self.suspects, offset).alone)
    }

    /// The lowest offset of a waiting event.
    pub(super) fn lowest_waiting(&self) -> Option<i64> {
        self.waiting.keys().next().copied()
    }
}

fn suspect(suspects: &mut BTreeMap<i64, Suspect>, offset: i64) -> &mut Suspect {
    suspects.entry(offset).or_insert(Suspect { offset, running: 0, alone: 0 })
}
