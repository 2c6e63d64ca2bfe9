//! Operators: the keys that they release, and the promises of an answered release.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use parking_lot::Mutex;

use super::{
    cluster::Member,
    faults::{Bug, Faults},
    gate::Gate,
    journal::{Journal, OpenRelease},
    store::at_once,
};
use crate::{
    engine::{
        observe::Operations,
        partition::release::{KeySelection, Release},
    },
    model::PartitionId,
    store::{Store, WaitingState},
};

/// A process as an operator sees it.
#[derive(Clone)]
pub(super) struct Console {
    pub(super) member: Arc<Member>,
    pub(super) gate: Arc<Gate>,
    pub(super) operations: Arc<dyn Operations>,
}

/// A held event at one time: its failed attempts, and the assignment (tenure) of its owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    partition: PartitionId,
    offset: i64,
    attempts: u32,
    tenure: u64,
}

/// The promise of an answered release about a held event. It is valid while the owner keeps the partition.
struct Promise {
    /// The number of the release. Of two releases of one event the later one counts, whichever is answered first.
    asked: u64,
    held: Held,
    how: Release,
    member: Arc<Member>,
    gate: Arc<Gate>,
}

/// The operators of a scenario, and the releases that they have requested.
pub(super) struct Operators {
    store: Arc<dyn Store>,
    journal: Arc<Journal>,
    faults: Arc<Faults>,
    answered: Arc<Mutex<Answered>>,
    /// Every release to the dead-letter topic, answered or not.
    condemned: Vec<Arc<OpenRelease>>,
    /// The number of requested releases.
    asked: u64,
}

#[derive(Default)]
struct Answered {
    promises: Vec<Promise>,
    /// The violation by an answer that cannot be right.
    wrong: Option<String>,
}

impl Operators {
    pub(super) fn new(store: Arc<dyn Store>, journal: Arc<Journal>, faults: Arc<Faults>) -> Self {
        Self { store, journal, faults, answered: Arc::default(), condemned: Vec::new(), asked: 0 }
    }

    /// Releases keys at a process. Does not wait for the answer of its partition owners, which may never come.
    pub(super) fn release(&mut self, console: Console, selection: KeySelection, how: Release) {
        let counter = match how {
            Release::Retry => &self.faults.retries_released,
            Release::DeadLetter => &self.faults.letters_released,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.asked += 1;
        let open = Arc::new(OpenRelease {
            selection: selection.clone(),
            gate: Arc::clone(&console.gate),
            firsts: Mutex::default(),
        });
        if how == Release::DeadLetter {
            self.add_firsts(&open);
            self.journal.open(Arc::clone(&open));
            self.condemned.push(Arc::clone(&open));
        }
        let before = self.held(&console, &selection);
        if self.faults.bug == Some(Bug::ReleasesAreLost) && self.faults.in_thousand(200) {
            self.promise(&console, how, before);
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            let found = console.operations.release(selection.clone(), how).await;
            this.add_firsts(&open);
            this.journal.close(&open);
            let after = this.held(&console, &selection);
            let both: BTreeSet<Held> = before.intersection(&after).cloned().collect();
            if found < both.len() {
                let wrong = format!("a release of {selection:?} has found {found} keys, but these are held: {both:?}");
                this.answered.lock().wrong.get_or_insert(wrong);
            }
            this.promise(&console, how, both);
        });
    }

    /// Whether an operator may have given up the event.
    pub(super) fn gave_up(&self, partition: &PartitionId, offset: i64) -> bool {
        let place = (partition.clone(), offset);
        self.condemned.iter().any(|release| release.firsts.lock().contains(&place))
    }

    /// Checks that the promises were kept. Called only when no event can continue without an operator.
    pub(super) fn check(&self) -> Result<(), String> {
        let answered = self.answered.lock();
        if let Some(wrong) = &answered.wrong {
            return Err(wrong.clone());
        }
        for Promise { held, how, member, gate, .. } in &answered.promises {
            if gate.is_shut() || member.tenure(&held.partition) != Some(held.tenure) {
                continue;
            }
            let waiting = at_once(self.store.reload(&held.partition)).ok().flatten().map(|stored| stored.waiting);
            let row = waiting.into_iter().flatten().find(|row| row.offset == held.offset);
            let is_kept = match (row, how) {
                (None, _) => true,
                // In a stopped partition a released event is due, but does not run.
                (Some(row), Release::Retry) => {
                    row.attempts > held.attempts || !matches!(row.state, WaitingState::Held(_))
                }
                (Some(_), Release::DeadLetter) => false,
            };
            if !is_kept {
                return Err(format!("the release ({how:?}) of {held:?} was answered and has not happened"));
            }
        }
        Ok(())
    }

    /// Drops the promises made so far.
    pub(super) fn forget(&self) {
        self.answered.lock().promises.clear();
    }

    /// Notes the promises of an answer. Of two releases of one event the later one counts.
    fn promise(&self, console: &Console, how: Release, held: BTreeSet<Held>) {
        let mut answered = self.answered.lock();
        for held in held {
            if answered.promises.iter().any(|other| other.held == held && other.asked > self.asked) {
                continue;
            }
            answered.promises.retain(|other| other.held != held);
            let (member, gate) = (Arc::clone(&console.member), Arc::clone(&console.gate));
            answered.promises.push(Promise { asked: self.asked, held, how, member, gate });
        }
    }

    /// The selected events that are held in the partitions of a process.
    fn held(&self, console: &Console, selection: &KeySelection) -> BTreeSet<Held> {
        let mut held = BTreeSet::new();
        if console.gate.is_shut() {
            return held;
        }
        for partition in console.member.begun() {
            let Some(tenure) = console.member.tenure(&partition) else { continue };
            let Ok(Some(stored)) = at_once(self.store.reload(&partition)) else { continue };
            let is_held = |state| matches!(state, WaitingState::Held(_));
            let rows = stored.waiting.iter().filter(|row| is_held(row.state) && selection.takes_queue(&row.queue));
            let of = |offset, attempts| Held { partition: partition.clone(), offset, attempts, tenure };
            held.extend(rows.map(|row| of(row.offset, row.attempts)));
        }
        held
    }

    fn add_firsts(&self, open: &OpenRelease) {
        let positions = at_once(self.store.positions()).unwrap_or_default();
        for (partition, _) in &positions {
            open.add_firsts(&*self.store, partition);
        }
    }
}

impl Clone for Operators {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            journal: Arc::clone(&self.journal),
            faults: Arc::clone(&self.faults),
            answered: Arc::clone(&self.answered),
            condemned: Vec::new(),
            asked: self.asked,
        }
    }
}
