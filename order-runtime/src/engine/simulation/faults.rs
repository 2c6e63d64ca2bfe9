//! How a store and a broker misbehave, and how a process stops in the middle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::scenario::{Dice, Weather};
use crate::{
    broker::PartitionId,
    engine::Clock,
    store::{
        Assigned, AuditRow, Changes, Committed, EntityType, LetterMark, Load, Loaded, Outbox, Page, Store, StoreError,
        WaitingRow, memory::MemoryStore,
    },
};

/// Something broken on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The store writes whatever position and revision a former owner still has.
    NoFencing,
    /// Rows and rings are written without comparing their versions.
    NoIdentity,
    /// The store forgets which events wait.
    WaitingIsForgotten,
    /// The store forgets whose turn waiting events keep back.
    LanesAreForgotten,
    /// The position moves past an event that has no outcome.
    PositionRunsAhead,
    /// A commit is acknowledged and not done.
    CommitsAreDropped,
    /// A dead letter is acknowledged and not there.
    DeadLettersAreDropped,
}

impl Bug {
    pub(super) const ALL: [Self; 7] = [
        Self::NoFencing,
        Self::NoIdentity,
        Self::WaitingIsForgotten,
        Self::LanesAreForgotten,
        Self::PositionRunsAhead,
        Self::CommitsAreDropped,
        Self::DeadLettersAreDropped,
    ];
}

/// Answers a commit instead of the store; where it answers nothing, the store does.
type Answering = Box<dyn FnMut(&[Arc<Changes>]) -> Option<Result<Vec<Committed>, StoreError>> + Send>;

/// A test's own answers to commits.
#[derive(Default)]
struct Answers(Mutex<Option<Answering>>);

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

/// Lets a process do things, or not: a shut gate is a process that is stopped, for a while or for ever.
#[derive(Debug, Default)]
pub(in crate::engine) struct Gate {
    shut: AtomicBool,
    panics: AtomicBool,
    crashed: AtomicBool,
    opened: Notify,
    answers: Answers,
}

impl Gate {
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// Whether it will never open again.
    pub(super) fn has_crashed(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    pub(in crate::engine) fn shut(&self) {
        self.shut.store(true, Ordering::Relaxed);
    }

    pub(super) fn crash(&self) {
        self.crashed.store(true, Ordering::Relaxed);
        self.shut();
    }

    pub(in crate::engine) fn reopen(&self) {
        if !self.has_crashed() {
            self.shut.store(false, Ordering::Relaxed);
            self.opened.notify_waiters();
        }
    }

    /// Whoever comes from now on panics.
    pub(in crate::engine) fn let_visitors_panic(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    /// Lets a test answer commits from now on.
    pub(in crate::engine) fn answer_commits(
        &self,
        answering: impl FnMut(&[Arc<Changes>]) -> Option<Result<Vec<Committed>, StoreError>> + Send + 'static,
    ) {
        *self.answers.0.lock() = Some(Box::new(answering));
    }

    fn answer(&self, changes: &[Arc<Changes>]) -> Option<Result<Vec<Committed>, StoreError>> {
        self.answers.0.lock().as_mut()?(changes)
    }

    /// Returns when it is open.
    pub(super) async fn open(&self) {
        if self.panics.load(Ordering::Relaxed) {
            // Unlike `panic!`, this one is not printed.
            std::panic::resume_unwind(Box::new("as the test says"));
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

/// Draws what goes wrong next, and counts it.
pub(super) struct Faults {
    dice: Mutex<Dice>,
    weather: Mutex<Weather>,
    pub(super) bug: Option<Bug>,
    pub(super) store_errors: AtomicU64,
    pub(super) unknown_commits: AtomicU64,
    pub(super) publish_errors: AtomicU64,
    pub(super) crashes: AtomicU64,
    pub(super) fenced: AtomicU64,
    pub(super) conflicts: AtomicU64,
}

impl Faults {
    pub(super) fn new(seed: u64, weather: Weather, bug: Option<Bug>) -> Self {
        let count = || AtomicU64::new(0);
        Self {
            // Not the numbers that the scenario was made of.
            dice: Mutex::new(Dice::of(seed ^ 0x5eed_5eed_5eed_5eed)),
            weather: Mutex::new(weather),
            bug,
            store_errors: count(),
            unknown_commits: count(),
            publish_errors: count(),
            crashes: count(),
            fenced: count(),
            conflicts: count(),
        }
    }

    /// Nothing goes wrong from now on.
    pub(super) fn heal(&self) {
        *self.weather.lock() = Weather::default();
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.dice.lock().below(end)
    }

    pub(super) fn in_thousand(&self, times: u64) -> bool {
        times > 0 && self.dice.lock().in_thousand(times)
    }

    fn weather(&self) -> Weather {
        *self.weather.lock()
    }

    /// The process may end here.
    pub(super) async fn crash(&self, gate: &Gate) {
        if self.in_thousand(self.weather().crash) {
            self.crashes.fetch_add(1, Ordering::Relaxed);
            gate.crash();
        }
        gate.open().await;
    }

    pub(super) async fn delay_publish(&self) {
        if self.in_thousand(self.weather().publish_slow) {
            tokio::time::sleep(Duration::from_millis(self.below(300))).await;
        }
    }

    pub(super) fn publish_fails(&self) -> bool {
        let fails = self.in_thousand(self.weather().publish_fails);
        self.publish_errors.fetch_add(fails.into(), Ordering::Relaxed);
        fails
    }

    pub(super) fn publish_unknown(&self) -> bool {
        let unknown = self.in_thousand(self.weather().publish_unknown);
        self.publish_errors.fetch_add(unknown.into(), Ordering::Relaxed);
        unknown
    }
}

/// One process's view of the store that all share.
pub(in crate::engine) struct SimulatedStore {
    pub(super) inner: Arc<MemoryStore>,
    pub(super) gate: Arc<Gate>,
    pub(super) faults: Arc<Faults>,
}

impl SimulatedStore {
    /// A store that does what the gate says, and nothing wrong by itself.
    pub(in crate::engine) fn behind(gate: &Arc<Gate>) -> Arc<Self> {
        let faults = Arc::new(Faults::new(0, Weather::default(), None));
        Arc::new(Self { inner: Arc::default(), gate: Arc::clone(gate), faults })
    }

    /// What comes before anything is done: slowness, an error, the end of the process.
    async fn before(&self) -> Result<(), StoreError> {
        self.gate.open().await;
        if self.faults.in_thousand(self.faults.weather().store_slow) {
            tokio::time::sleep(Duration::from_millis(1 << self.faults.below(10))).await;
        }
        self.faults.crash(&self.gate).await;
        if self.faults.in_thousand(self.faults.weather().store_fails) {
            self.faults.store_errors.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Unavailable("the simulation says so".to_owned()));
        }
        Ok(())
    }

    /// What comes between the deed and its answer.
    async fn after<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.faults.crash(&self.gate).await;
        if self.faults.in_thousand(self.faults.weather().store_unknown) {
            self.faults.unknown_commits.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Unavailable("the answer was lost".to_owned()));
        }
        answer
    }

    /// The changes as a store would see them that has the bug.
    async fn broken(&self, changes: &Arc<Changes>) -> Arc<Changes> {
        let mut broken = (**changes).clone();
        match self.faults.bug {
            Some(Bug::NoFencing) => {
                if let Ok(Some(stored)) = self.inner.reload(&changes.partition).await {
                    (broken.revision, broken.from) = (stored.revision, stored.next_offset);
                }
            }
            Some(Bug::NoIdentity) => broken.rings.clear(),
            Some(Bug::LanesAreForgotten) => {
                for row in &mut broken.waiting {
                    row.lane = row.offset.to_be_bytes().to_vec();
                }
            }
            Some(Bug::PositionRunsAhead) if self.faults.in_thousand(20) => broken.to += 1,
            Some(Bug::WaitingIsForgotten) if self.faults.in_thousand(50) => broken.waiting.clear(),
            _ => {}
        }
        Arc::new(broken)
    }
}

#[async_trait]
impl Store for SimulatedStore {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn durable(&self) -> bool {
        true
    }

    fn shared(&self) -> bool {
        true
    }

    async fn claim(&self, group: &str) -> Result<Uuid, StoreError> {
        self.inner.claim(group).await
    }

    async fn assigned(&self, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError> {
        self.before().await?;
        self.after(self.inner.assigned(partitions).await).await
    }

    async fn reload(&self, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
        self.before().await?;
        self.after(self.inner.reload(partition).await).await
    }

    async fn begin(&self, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError> {
        self.before().await?;
        self.after(self.inner.begin(partition, next_offset).await).await
    }

    async fn knows_topic(&self, partition: &PartitionId) -> Result<bool, StoreError> {
        self.before().await?;
        self.inner.knows_topic(partition).await
    }

    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError> {
        self.before().await?;
        self.after(self.inner.load(wanted).await).await
    }

    async fn commit(&self, changes: Vec<Arc<Changes>>) -> Result<Vec<Committed>, StoreError> {
        self.before().await?;
        if let Some(answer) = self.gate.answer(&changes) {
            return answer;
        }
        if self.faults.bug == Some(Bug::CommitsAreDropped) && self.faults.in_thousand(20) {
            let applied = |each: &Arc<Changes>| Committed::Applied { revision: each.revision + 1 };
            return Ok(changes.iter().map(applied).collect());
        }
        let changes = if self.faults.bug.is_some() {
            let mut broken = Vec::new();
            for each in &changes {
                broken.push(self.broken(each).await);
            }
            broken
        } else {
            changes
        };
        let answers = self.inner.commit(changes).await;
        for answer in answers.iter().flatten() {
            match answer {
                Committed::Fenced => self.faults.fenced.fetch_add(1, Ordering::Relaxed),
                Committed::Conflict => self.faults.conflicts.fetch_add(1, Ordering::Relaxed),
                Committed::Applied { .. } | Committed::Refused(_) => 0,
            };
        }
        self.after(answers).await
    }

    async fn committable(&self, _: &PartitionId, position: i64) -> Result<i64, StoreError> {
        Ok(position)
    }

    async fn outbox(&self, after: i64, limit: usize) -> Result<Outbox, StoreError> {
        self.before().await?;
        self.inner.outbox(after, limit).await
    }

    async fn suspect(&self, partition: &PartitionId, offset: i64) -> Result<u32, StoreError> {
        self.before().await?;
        self.after(self.inner.suspect(partition, offset).await).await
    }

    async fn ended(&self, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError> {
        self.before().await?;
        self.after(self.inner.ended(assignments).await).await
    }

    async fn forget(&self, until: Timestamp, from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.forget(until, from).await
    }

    async fn published(&self, rows: Vec<i64>) -> Result<(), StoreError> {
        self.before().await?;
        self.after(self.inner.published(rows).await).await
    }

    async fn view(&self, entity: EntityType, id: &str) -> Result<Option<Value>, StoreError> {
        self.inner.view(entity, id).await
    }

    async fn page(&self, entity: EntityType, page: Page) -> Result<Vec<Value>, StoreError> {
        self.inner.page(entity, page).await
    }

    async fn ring(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.ring(key).await
    }

    async fn waiting(&self, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError> {
        self.inner.waiting(limit).await
    }

    async fn positions(&self) -> Result<Vec<(PartitionId, i64)>, StoreError> {
        self.inner.positions().await
    }

    async fn mark(&self, entry: AuditRow, marks: Vec<LetterMark>) -> Result<(), StoreError> {
        self.inner.mark(entry, marks).await
    }

    async fn marks(&self, ids: Vec<String>) -> Result<Vec<LetterMark>, StoreError> {
        self.inner.marks(ids).await
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.inner.audit(limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.before().await
    }

    async fn close(&self) {}
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
