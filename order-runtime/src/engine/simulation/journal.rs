//! What the store was asked to do, by which the oracle judges and the world decides what is fair.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{gate::Gate, store::at_once};
use crate::{
    engine::partition::release::KeySelection,
    model::{OutgoingRecord, PartitionId},
    store::{Assigned, Changes, Store, WaitingState},
};

/// How often the process of an event that runs alone ends for other reasons. The engine gives a suspect three chances; where
/// nothing but such coincidences ends its process, no event may be blamed for a death.
const COINCIDENCES: u32 = 1;

/// The address of a process's gate.
type ProcessId = usize;

fn id(gate: &Arc<Gate>) -> ProcessId {
    Arc::as_ptr(gate).addr()
}

#[derive(Default)]
pub(super) struct Journal {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Records for the outbox in the order of their commits.
    outbox: Vec<Arc<OutgoingRecord>>,
    /// What concerns truncations, since somebody last asked.
    notices: Vec<Notice>,
    /// The event of a partition that a process runs alone.
    alone: BTreeMap<(ProcessId, PartitionId), i64>,
    /// How often the process of such an event has ended for other reasons.
    coincidences: BTreeMap<(PartitionId, i64), u32>,
    /// Releases that are not answered yet.
    open: Vec<Arc<OpenRelease>>,
    /// How often events of a partition were run alone, and whether anything was committed since; for deliberate bugs.
    run_alone: BTreeMap<PartitionId, u32>,
    committed: BTreeSet<PartitionId>,
}

/// What concerns truncations.
pub(super) enum Notice {
    LogReport(LogReport),
    /// A position was set without any other change.
    Moved {
        partition: PartitionId,
        to: i64,
    },
}

/// A member was told where a log ends: with an assignment, or because it asked for an offset that the log does not have.
pub(super) struct LogReport {
    pub(super) partition: PartitionId,
    pub(super) log_end: i64,
    /// What the store held as the position.
    pub(super) position: i64,
    /// The assignment that it belongs to.
    pub(super) tenure: u64,
}

/// A release to the dead-letter topic that the owners have not answered yet: whichever event is the first of its key
/// meanwhile may become a dead letter.
pub(super) struct OpenRelease {
    pub(super) selection: KeySelection,
    pub(super) gate: Arc<Gate>,
    pub(super) firsts: Mutex<BTreeSet<(PartitionId, i64)>>,
}

impl OpenRelease {
    /// Adds the first waiting events of a partition's keys.
    pub(super) fn add_firsts(&self, store: &dyn Store, partition: &PartitionId) {
        if !self.selection.takes_partition(partition) {
            return;
        }
        let Ok(Some(stored)) = at_once(store.reload(partition)) else { return };
        let mut seen = BTreeSet::new();
        for row in &stored.waiting {
            if self.selection.takes_queue(&row.queue) && seen.insert(&row.queue) {
                self.firsts.lock().insert((partition.clone(), row.offset));
            }
        }
    }
}

/// Whether changes say how the attempt at an event has ended.
fn has_ended(changes: &Changes, offset: i64) -> bool {
    let row = changes.waiting.iter().find(|row| row.offset == offset);
    match row {
        Some(row) => row.state != WaitingState::Running,
        None => (changes.from..changes.to).contains(&offset) || changes.released.contains(&offset),
    }
}

impl Journal {
    /// Changes have been applied for a process.
    pub(super) fn committed(&self, store: &dyn Store, gate: &Arc<Gate>, changes: &Changes) {
        let mut state = self.state.lock();
        state.outbox.extend(changes.outbox.iter().map(|row| Arc::clone(&row.record)));
        let is_move = changes.entities.is_empty()
            && changes.windows.is_empty()
            && changes.waiting.is_empty()
            && changes.released.is_empty()
            && changes.outbox.is_empty();
        if is_move && changes.to <= changes.from {
            state.notices.push(Notice::Moved { partition: changes.partition.clone(), to: changes.to });
        }
        let alone = (id(gate), changes.partition.clone());
        if state.alone.get(&alone).is_some_and(|offset| has_ended(changes, *offset)) {
            state.alone.remove(&alone);
        }
        state.committed.insert(changes.partition.clone());
        state.open.retain(|release| !release.gate.has_crashed());
        let open = state.open.clone();
        drop(state);
        for release in &open {
            release.add_firsts(store, &changes.partition);
        }
    }

    /// Everything that went to the outbox, in the order of the commits.
    pub(super) fn outbox(&self) -> Vec<Arc<OutgoingRecord>> {
        self.state.lock().outbox.clone()
    }

    pub(super) fn report(&self, report: LogReport) {
        self.state.lock().notices.push(Notice::LogReport(report));
    }

    /// What concerns truncations, since the last call and in its order.
    pub(super) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.state.lock().notices)
    }

    /// An operator's release is on its way.
    pub(super) fn open(&self, release: Arc<OpenRelease>) {
        self.state.lock().open.push(release);
    }

    /// An operator's release was answered.
    pub(super) fn close(&self, release: &Arc<OpenRelease>) {
        self.state.lock().open.retain(|other| !Arc::ptr_eq(other, release));
    }

    /// A process runs this event of a partition alone from now on, or none. Answers how often events of the partition were run alone.
    pub(super) fn runs_alone(&self, gate: &Arc<Gate>, partition: &PartitionId, offset: Option<i64>) -> u32 {
        let mut state = self.state.lock();
        let place = (id(gate), partition.clone());
        let times = state.run_alone.entry(partition.clone()).or_default();
        *times += u32::from(offset.is_some());
        let times = *times;
        match offset {
            Some(offset) => state.alone.insert(place, offset),
            None => state.alone.remove(&place),
        };
        times
    }

    /// Takes away what is known of deaths before the last commit of each partition.
    pub(super) fn forget_deaths(&self, partitions: &[PartitionId], known: &mut [Option<Assigned>]) {
        let mut state = self.state.lock();
        for (partition, known) in partitions.iter().zip(known) {
            if let (Some(known), true) = (known, state.committed.remove(partition)) {
                known.starts = 1;
                known.suspects.clear();
            }
        }
    }

    /// Whether a process may be ended or kept from its work for a reason that has nothing to do with its events.
    pub(super) fn may_interrupt(&self, gate: &Arc<Gate>) -> bool {
        let state = self.state.lock();
        let mut alone = state.alone.iter().filter(|((process, _), _)| *process == id(gate));
        alone.all(|((_, partition), offset)| {
            let so_far = state.coincidences.get(&(partition.clone(), *offset)).copied().unwrap_or_default();
            so_far < COINCIDENCES
        })
    }

    /// A process has lost these partitions, or all: whatever it ran alone there was interrupted.
    pub(super) fn interrupted(&self, gate: &Arc<Gate>, partitions: Option<&[PartitionId]>) {
        let mut state = self.state.lock();
        let State { alone, coincidences, .. } = &mut *state;
        alone.retain(|(process, partition), offset| {
            if *process != id(gate) || partitions.is_some_and(|lost| !lost.contains(partition)) {
                return true;
            }
            // An event that ends its own process is no coincidence.
            if gate.killed_by().is_some_and(|killer| (&killer.partition, killer.offset) == (partition, *offset)) {
                return false;
            }
            *coincidences.entry((partition.clone(), *offset)).or_default() += 1;
            false
        });
    }
}
