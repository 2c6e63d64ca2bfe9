//! A journal of commits, releases and interruptions, for the oracle's checks and the world's decision which faults are fair.

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

/// How often the process of an event that runs alone may end for other reasons. The engine makes a dead letter of a suspect
/// after three deaths, so these coincidences alone must never suffice for one.
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
    /// Notices about truncations that were not taken yet.
    notices: Vec<Notice>,
    /// The event of a partition that a process runs alone.
    alone: BTreeMap<(ProcessId, PartitionId), i64>,
    /// How often the process of such an event has ended for other reasons.
    coincidences: BTreeMap<(PartitionId, i64), u32>,
    /// Releases that are not answered yet.
    open: Vec<Arc<OpenRelease>>,
    /// How often events of each partition were run alone. Only deliberate bugs use this and `committed`.
    run_alone: BTreeMap<PartitionId, u32>,
    committed: BTreeSet<PartitionId>,
}

/// A notice that matters for truncations.
pub(super) enum Notice {
    LogReport(LogReport),
    /// A position was set without any other change.
    Moved {
        partition: PartitionId,
        to: i64,
    },
}

/// The end of a log as reported to a member: with an assignment, or because it requested an offset that the log does not have.
pub(super) struct LogReport {
    pub(super) partition: PartitionId,
    pub(super) log_end: i64,
    /// The position in the store at that time.
    pub(super) position: i64,
    /// The assignment to which the report belongs.
    pub(super) tenure: u64,
}

/// A release to the dead-letter topic that the partition owners have not answered yet. Each event that is the first of its key
/// until then may become a dead letter.
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

/// Whether the changes contain the outcome of the attempt at an event.
fn has_ended(changes: &Changes, offset: i64) -> bool {
    let row = changes.waiting.iter().find(|row| row.offset == offset);
    match row {
        Some(row) => row.state != WaitingState::Running,
        None => (changes.from..changes.to).contains(&offset) || changes.released.contains(&offset),
    }
}

impl Journal {
    /// Notes the changes that were applied for a process.
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

    /// Takes the notices since the last call, in their order.
    pub(super) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.state.lock().notices)
    }

    /// Notes an operator's release that is not answered yet.
    pub(super) fn open(&self, release: Arc<OpenRelease>) {
        self.state.lock().open.push(release);
    }

    /// Notes that an operator's release was answered.
    pub(super) fn close(&self, release: &Arc<OpenRelease>) {
        self.state.lock().open.retain(|other| !Arc::ptr_eq(other, release));
    }

    /// Notes which event of a partition, if any, a process runs alone from now on. Returns how often events of the partition
    /// were run alone.
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

    /// Clears the deaths and suspects of each partition that has committed since the last call.
    pub(super) fn forget_deaths(&self, partitions: &[PartitionId], known: &mut [Option<Assigned>]) {
        let mut state = self.state.lock();
        for (partition, known) in partitions.iter().zip(known) {
            if let (Some(known), true) = (known, state.committed.remove(partition)) {
                known.starts = 1;
                known.suspects.clear();
            }
        }
    }

    /// Whether a process may be ended or frozen for a reason other than its events.
    pub(super) fn may_interrupt(&self, gate: &Arc<Gate>) -> bool {
        let state = self.state.lock();
        let mut alone = state.alone.iter().filter(|((process, _), _)| *process == id(gate));
        alone.all(|((_, partition), offset)| {
            let so_far = state.coincidences.get(&(partition.clone(), *offset)).copied().unwrap_or_default();
            so_far < COINCIDENCES
        })
    }

    /// Notes that a process has lost these partitions, or all: the events that it ran alone there were interrupted.
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
