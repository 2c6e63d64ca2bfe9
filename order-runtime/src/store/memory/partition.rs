//! One partition in memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Assigned, Changes, WaitingRow};

#[derive(Default)]
pub(super) struct Partition {
    pub(super) next_offset: i64,
    revision: i64,
    pub(super) starts: u32,
    /// An offset, and how often it was suspected.
    suspect: Option<(i64, u32)>,
    /// By offset.
    pub(super) waiting: BTreeMap<i64, WaitingRow>,
}

impl Partition {
    /// The assignment that found no position is the first start.
    pub(super) fn begin(next_offset: i64) -> Self {
        Self { next_offset, starts: 1, ..Self::default() }
    }

    pub(super) fn assigned(&self) -> Assigned {
        Assigned {
            next_offset: self.next_offset,
            revision: self.revision,
            starts: self.starts,
            suspect: self.suspect.map(|(offset, _)| offset),
            waiting: self.waiting.values().cloned().collect(),
        }
    }

    pub(super) fn is_at(&self, next_offset: i64, revision: i64) -> bool {
        self.next_offset == next_offset && self.revision == revision
    }

    /// Whether every offset waits and none is named twice.
    pub(super) fn can_release(&self, offsets: &[i64]) -> bool {
        let distinct: BTreeSet<_> = offsets.iter().collect();
        distinct.len() == offsets.len() && offsets.iter().all(|offset| self.waiting.contains_key(offset))
    }

    /// Moves the position with what waits, and answers the new revision.
    pub(super) fn advance(&mut self, changes: &Changes) -> i64 {
        for offset in &changes.released {
            self.waiting.remove(offset);
        }
        for row in &changes.waiting {
            self.waiting.insert(row.offset, row.clone());
        }
        self.next_offset = changes.to;
        self.revision += 1;
        self.starts = 0;
        self.suspect = None;
        self.revision
    }

    /// Notes a suspect and answers how often it was one.
    pub(super) fn suspect(&mut self, offset: i64) -> u32 {
        let times = match self.suspect {
            Some((known, times)) if known == offset => times + 1,
            _ => 1,
        };
        self.suspect = Some((offset, times));
        times
    }

    /// The lowest offset whose event waits.
    pub(super) fn lowest_waiting(&self) -> Option<i64> {
        self.waiting.keys().next().copied()
    }
}
