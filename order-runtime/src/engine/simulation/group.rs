//! Members of the group: how they join and leave, and how partitions are assigned to them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    cluster::{EVENTS, MORE, Member, partition},
    domain::PROCESSES,
    gate::Gate,
    ledger,
    operators::Console,
    store::SimulatedStore,
    world::World,
};
use crate::{
    config::{OffsetReset, OnTruncation},
    engine::{EngineHandle, Parts, Settings, start},
    model::{PartitionId, TopicPattern},
    telemetry::metrics::Metrics,
};

/// How long a member may take to give back its partitions before the group continues without it.
pub(super) const SESSION: Duration = Duration::from_secs(10);

/// A killing event must become a dead letter before it has ended more processes than this: three until the quarantine of its
/// partition, three while it runs alone, and those during other faults.
const MOST_KILLS: u32 = 20;

/// A process.
pub(super) struct Process {
    pub(super) member: Arc<Member>,
    pub(super) gate: Arc<Gate>,
    pub(super) engine: EngineHandle,
    /// The partitions that the group has assigned to it.
    pub(super) partitions: Vec<PartitionId>,
    /// Whether its configuration lacks the second topic.
    is_narrow: bool,
}

impl Process {
    pub(super) fn console(&self) -> Console {
        Console { member: Arc::clone(&self.member), gate: Arc::clone(&self.gate), operations: self.engine.operations() }
    }
}

impl World {
    pub(super) fn index(&self, any: u64) -> Option<usize> {
        let count = u64::try_from(self.processes.len()).unwrap_or_default();
        usize::try_from(any.checked_rem(count)?).ok()
    }

    /// Like [`index`](Self::index), but `None` if the process must not be ended or frozen now.
    pub(super) fn interruptible(&self, any: u64) -> Option<usize> {
        self.index(any).filter(|index| self.cluster.journal.may_interrupt(&self.processes[*index].gate))
    }

    pub(super) fn may_interrupt_all(&self) -> bool {
        self.processes.iter().all(|process| self.cluster.journal.may_interrupt(&process.gate))
    }

    pub(super) async fn join(&mut self, is_narrow: bool) {
        self.report.members += 1;
        let gate = Arc::new(Gate::default());
        let (member, events) = Member::new(Arc::clone(&self.cluster), Arc::clone(&gate), Arc::clone(&self.faults));
        PROCESSES.with_borrow_mut(|processes| processes.push((Arc::clone(&member.name), Arc::clone(&gate))));
        let store = SimulatedStore {
            inner: Arc::clone(&self.store),
            gate: Arc::clone(&gate),
            faults: Arc::clone(&self.faults),
            journal: Arc::clone(&self.cluster.journal),
        };
        let topics = if is_narrow || self.more_keys == 0 { vec![EVENTS] } else { vec![EVENTS, MORE] };
        let engine = start(Parts {
            registry: Arc::clone(&self.registry),
            store: Arc::new(store),
            store_id: self.store_id,
            consumer: Arc::clone(&member) as _,
            metadata: Some(Arc::clone(&member) as _),
            events,
            publisher: Arc::clone(&member) as _,
            entities: vec![ledger::entity()],
            settings: Settings {
                group: "group".to_owned(),
                topics: topics.into_iter().map(TopicPattern::named).collect(),
                dlq_topic: "events-dlq".into(),
                dlq_headers: Vec::new(),
                service_version: "0.0.0",
                reset: OffsetReset::Earliest,
                on_truncation: OnTruncation::Continue,
                retry_max_elapsed: None,
                drain: Duration::from_secs(3),
                retention: Duration::from_hours(24 * 365),
                shadow: false,
            },
            clock: Arc::clone(&self.clock) as _,
            metrics: Metrics::new(self.registry.processors().len()),
            tracer: None,
        });
        self.processes.push(Process { member, gate, engine, partitions: Vec::new(), is_narrow });
        self.share(0).await;
    }

    /// The partitions that exist.
    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        (0..self.partitions).map(partition).chain(self.cluster.more()).collect()
    }

    /// Whether a member reads the second topic.
    pub(super) fn has_broad_member(&self) -> bool {
        self.processes.iter().any(|process| !process.is_narrow)
    }

    /// Assigns the partitions to the members, rotated by `turn`. Partitions that change their member are revoked first.
    pub(super) async fn share(&mut self, turn: u64) {
        self.report.rebalances += 1;
        let turn = usize::try_from(turn % 8).unwrap_or_default();
        let mut wanted = vec![Vec::new(); self.processes.len()];
        for (number, partition) in self.partitions().into_iter().enumerate() {
            let reads = |index: &usize| *partition.topic == *EVENTS || !self.processes[*index].is_narrow;
            let members: Vec<usize> = (0..self.processes.len()).filter(reads).collect();
            if !members.is_empty() {
                wanted[members[(number + turn) % members.len()]].push(partition);
            }
        }
        for (process, wanted) in self.processes.iter_mut().zip(&wanted) {
            let leaving: Vec<PartitionId> =
                process.partitions.iter().filter(|partition| !wanted.contains(partition)).cloned().collect();
            process.partitions.retain(|partition| wanted.contains(partition));
            give_back(process, &leaving).await;
            self.cluster.journal.interrupted(&process.gate, Some(&leaving));
        }
        for (process, wanted) in self.processes.iter_mut().zip(wanted) {
            let new: Vec<PartitionId> =
                wanted.iter().filter(|partition| !process.partitions.contains(partition)).cloned().collect();
            process.partitions = wanted;
            if !new.is_empty() {
                // The member answers when its store does; the world does not wait for the answer.
                let member = Arc::clone(&process.member);
                tokio::spawn(async move { member.assign(&new).await });
                tokio::task::yield_now().await;
            }
        }
    }

    /// The member leaves in order.
    pub(super) async fn leave(&mut self, process: Process) {
        give_back(&process, &process.partitions).await;
        self.end(process);
    }

    /// Ends a process.
    pub(super) fn end(&mut self, process: Process) {
        process.gate.crash();
        self.cluster.journal.interrupted(&process.gate, None);
        self.gone.push(process);
    }

    /// Removes crashed processes from the group, each after a session timeout.
    pub(super) async fn bury_the_crashed(&mut self) {
        while let Some(index) = self.processes.iter().position(|process| process.gate.has_crashed()) {
            let process = self.processes.remove(index);
            self.note_kill(&process);
            self.end(process);
            tokio::time::sleep(SESSION).await;
            if self.restarts && self.processes.is_empty() {
                self.join(false).await;
            } else {
                self.share(0).await;
            }
        }
    }

    /// Counts a process that a killing event has ended; too many for one event are a violation.
    fn note_kill(&mut self, process: &Process) {
        let Some(killer) = process.gate.killed_by() else { return };
        self.report.kills += 1;
        let kills = self.kills.entry(killer.event_id).or_default();
        *kills += 1;
        if *kills > MOST_KILLS {
            let (partition, offset) = (&killer.partition, killer.offset);
            self.wrong =
                Some(format!("the event at {partition}@{offset} has ended {kills} processes and is not dead-lettered"));
        }
    }

    /// Wakes frozen members that are due. Each continues its work and only then learns that its partitions have other owners.
    pub(super) async fn wake_the_frozen(&mut self) {
        let now = tokio::time::Instant::now();
        while let Some(index) = self.frozen.iter().position(|(_, until)| *until <= now) {
            let (process, _) = self.frozen.remove(index);
            process.gate.reopen();
            tokio::time::sleep(Duration::from_millis(self.faults.below(500))).await;
            let lost = process.partitions.clone();
            let _ = tokio::time::timeout(SESSION, process.member.revoke(&lost, true)).await;
            self.end(process);
        }
    }

    /// Freezes a member for that long; the group continues without it.
    pub(super) async fn freeze(&mut self, index: usize, duration: Duration) {
        self.report.freezes += 1;
        let process = self.processes.remove(index);
        process.gate.shut();
        self.cluster.journal.interrupted(&process.gate, None);
        tokio::time::sleep(SESSION.min(duration)).await;
        self.frozen.push((process, tokio::time::Instant::now() + duration));
        self.share(0).await;
    }

    /// Crashes a process.
    pub(super) fn crash(&self, index: usize) {
        self.faults.crashes.fetch_add(1, Ordering::Relaxed);
        self.processes[index].gate.crash();
    }
}

/// Revokes partitions of a member in order. The group waits for the member for [`SESSION`] at most.
async fn give_back(process: &Process, partitions: &[PartitionId]) {
    if !partitions.is_empty() && !process.gate.is_shut() {
        let _ = tokio::time::timeout(SESSION, process.member.revoke(partitions, false)).await;
    }
}
