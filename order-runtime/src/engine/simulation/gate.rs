//! A gate that stops a process, for a while or for ever, and a clock that jumps.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::scenario::Dice;
use crate::{
    engine::Clock,
    model::PartitionId,
    store::{Changes, Committed, StoreError},
};

/// Lets a process continue or not. While the gate is shut, the process is stopped; after a crash the gate never opens again.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    shut: AtomicBool,
    panics: AtomicBool,
    crashed: AtomicBool,
    opened: Notify,
    /// The event that has ended the process.
    killed_by: Mutex<Option<Killer>>,
    answers: Answers,
}

/// Answers a commit instead of the store. On `None` the store answers.
type Answering = Box<dyn FnMut(&[Arc<Changes>]) -> Option<Result<Vec<Committed>, StoreError>> + Send>;

/// A test's own answers to commits.
#[derive(Default)]
struct Answers(Mutex<Option<Answering>>);

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

/// An event that has ended a process, and where it was read.
#[derive(Debug, Clone)]
pub(super) struct Killer {
    pub(super) event_id: String,
    pub(super) partition: PartitionId,
    pub(super) offset: i64,
}

impl Gate {
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// Whether it will never open again.
    pub(super) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
    }

    pub(super) fn crash(&self) {
        self.crashed.store(true, Ordering::Relaxed);
        self.shut();
    }

    /// Crashes the process and notes the event that has ended it.
    pub(super) fn kill(&self, killer: Killer) {
        self.killed_by.lock().get_or_insert(killer);
        self.crash();
    }

    /// The event that has ended the process, if one has.
    pub(super) fn killed_by(&self) -> Option<Killer> {
        self.killed_by.lock().clone()
    }

    pub(crate) fn reopen(&self) {
        if !self.has_crashed() {
            self.shut.store(false, Ordering::Relaxed);
            self.opened.notify_waiters();
        }
    }

    /// Lets every later call to [`open`](Self::open) panic.
    pub(crate) fn let_visitors_panic(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    /// Lets `answering` answer commits instead of the store from now on.
    pub(crate) fn answer_commits(
        &self,
        answering: impl FnMut(&[Arc<Changes>]) -> Option<Result<Vec<Committed>, StoreError>> + Send + 'static,
    ) {
        *self.answers.0.lock() = Some(Box::new(answering));
    }

    pub(super) fn answer(&self, changes: &[Arc<Changes>]) -> Option<Result<Vec<Committed>, StoreError>> {
        self.answers.0.lock().as_mut()?(changes)
    }

    /// Waits until the gate is open.
    pub(super) async fn open(&self) {
        if self.panics.load(Ordering::Relaxed) {
            // Unlike `panic!`, this prints nothing.
            std::panic::resume_unwind(Box::new("requested by the test"));
        }
        loop {
            let opened = self.opened.notified();
            if !self.is_shut() {
                return;
            }
            opened.await;
        }
    }
}

/// A wall clock that follows the virtual time, and jumps.
pub(super) struct SimulatedClock {
    start: Instant,
    jumped: AtomicI64,
    dice: Mutex<Dice>,
}

impl SimulatedClock {
    pub(super) fn new(seed: u64) -> Self {
        Self { start: Instant::now(), jumped: AtomicI64::new(0), dice: Mutex::new(Dice::of(!seed)) }
    }

    pub(super) fn jump(&self, seconds: i64) {
        self.jumped.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let jumped = jiff::SignedDuration::from_secs(self.jumped.load(Ordering::Relaxed));
        Timestamp::from_second(1_700_000_000).expect("a time") + self.start.elapsed() + jumped
    }

    fn random(&self) -> u64 {
        self.dice.lock().next()
    }
}
