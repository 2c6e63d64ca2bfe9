//! One process's view of the shared store: calls fail, are slow, and may end the process in between.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Wake},
    thread::Thread,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    faults::{Bug, Faults},
    gate::Gate,
    journal::Journal,
    ledger::must_be_refused,
    scenario::Weather,
};
use crate::{
    model::PartitionId,
    store::{
        Assigned, AuditRow, Changes, Committed, EntityType, LetterMark, LetterStore, Listed, Load, Loaded, Outbox,
        OutboxStore, Page, PartitionStore, ReadModel, Store, StoreError, WaitingRow, memory::MemoryStore,
    },
};

/// Blocks until the store has answered. Virtual time does not advance meanwhile, although SQLite works on threads of its own.
pub(super) fn at_once<T>(answer: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    // Tokio's channels stop answering a task that has used up its budget, and this future has to end before the task yields.
    let mut answer = pin!(tokio::task::unconstrained(answer));
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// One process's view of the shared store.
pub(crate) struct SimulatedStore {
    pub(super) inner: Arc<dyn Store>,
    pub(super) gate: Arc<Gate>,
    pub(super) faults: Arc<Faults>,
    pub(super) journal: Arc<Journal>,
}

impl SimulatedStore {
    /// A memory store that the gate controls, without faults of its own.
    pub(crate) fn behind(gate: &Arc<Gate>) -> Arc<Self> {
        let faults = Arc::new(Faults::new(0, Weather::default(), None));
        let inner = Arc::new(MemoryStore::default());
        Arc::new(Self { inner, gate: Arc::clone(gate), faults, journal: Arc::default() })
    }

    fn fails(&self, text: &str) -> StoreError {
        self.faults.store_errors.fetch_add(1, Ordering::Relaxed);
        StoreError::Unavailable(text.to_owned())
    }

    /// The faults before a call is executed: a delay, the end of the process, an error.
    async fn before(&self) -> Result<(), StoreError> {
        self.gate.open().await;
        if self.faults.in_thousand(self.faults.weather().store_slow) {
            tokio::time::sleep(Duration::from_millis(1 << self.faults.below(10))).await;
        }
        self.may_crash().await;
        if self.faults.store_is_away() {
            return Err(self.fails("the store is unavailable"));
        }
        if self.faults.in_thousand(self.faults.weather().store_fails) {
            return Err(self.fails("a simulated fault"));
        }
        Ok(())
    }

    /// The faults between the execution of a call and its answer: the end of the process, a lost answer.
    async fn after<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        self.may_crash().await;
        if self.faults.in_thousand(self.faults.weather().store_unknown) {
            self.faults.unknown_commits.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::Unavailable("the answer was lost".to_owned()));
        }
        answer
    }

    /// May end the process, unless an event that it runs alone has been interrupted often enough.
    async fn may_crash(&self) {
        if self.journal.may_interrupt(&self.gate) {
            self.faults.crash(&self.gate).await;
        } else {
            self.gate.open().await;
        }
    }

    /// The changes as a store with the deliberate bug would apply them.
    fn broken(&self, changes: &Arc<Changes>) -> Arc<Changes> {
        let mut broken = (**changes).clone();
        match self.faults.bug {
            Some(Bug::NoFencing) => {
                if let Ok(Some(stored)) = at_once(self.inner.reload(&changes.partition)) {
                    (broken.revision, broken.from) = (stored.revision, stored.next_offset);
                }
            }
            Some(Bug::NoIdentity) => broken.windows.clear(),
            Some(Bug::QueuesAreForgotten) => {
                for row in &mut broken.waiting {
                    row.queue = row.offset.to_be_bytes().to_vec();
                }
            }
            Some(Bug::PositionRunsAhead) if self.faults.in_thousand(20) => broken.to += 1,
            Some(Bug::WaitingIsForgotten) if self.faults.in_thousand(50) => broken.waiting.clear(),
            Some(Bug::JumpsAreNotRepeated) if broken.to < broken.from => broken.to = broken.from,
            _ => {}
        }
        Arc::new(broken)
    }

    /// Commits to the inner store. A memory store takes any data, so data that must be refused is refused here.
    fn apply(&self, changes: Vec<Arc<Changes>>) -> Result<Vec<Committed>, StoreError> {
        if self.inner.kind() != "memory" || !changes.iter().any(|each| must_be_refused(each)) {
            return at_once(self.inner.commit(changes));
        }
        let mut answers = Vec::with_capacity(changes.len());
        for each in changes {
            if must_be_refused(&each) && self.is_current(&each) {
                answers.push(Committed::Refused("the simulation refuses this ledger".to_owned()));
            } else {
                answers.extend(at_once(self.inner.commit(vec![each]))?);
            }
        }
        Ok(answers)
    }

    fn is_current(&self, changes: &Changes) -> bool {
        let stored = at_once(self.inner.reload(&changes.partition)).ok().flatten();
        stored.is_some_and(|stored| (stored.next_offset, stored.revision) == (changes.from, changes.revision))
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
        at_once(self.inner.claim(group))
    }

    async fn forget(&self, until: Timestamp, from: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        at_once(self.inner.forget(until, from))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.before().await
    }

    async fn close(&self) {}
}

#[async_trait]
impl PartitionStore for SimulatedStore {
    async fn assigned(&self, partitions: &[PartitionId]) -> Result<Vec<Option<Assigned>>, StoreError> {
        self.before().await?;
        let mut answer = at_once(self.inner.assigned(partitions));
        if let (Some(Bug::NeighboursClearSuspects), Ok(known)) = (self.faults.bug, &mut answer) {
            self.journal.forget_deaths(partitions, known);
        }
        self.after(answer).await
    }

    async fn reload(&self, partition: &PartitionId) -> Result<Option<Assigned>, StoreError> {
        self.before().await?;
        self.after(at_once(self.inner.reload(partition))).await
    }

    async fn begin(&self, partition: &PartitionId, next_offset: i64) -> Result<Assigned, StoreError> {
        self.before().await?;
        self.after(at_once(self.inner.begin(partition, next_offset))).await
    }

    async fn knows_topic(&self, partition: &PartitionId) -> Result<bool, StoreError> {
        self.before().await?;
        at_once(self.inner.knows_topic(partition))
    }

    async fn load(&self, wanted: Load) -> Result<Loaded, StoreError> {
        self.before().await?;
        self.after(at_once(self.inner.load(wanted))).await
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
        let changes: Vec<_> = match self.faults.bug {
            Some(_) => changes.iter().map(|each| self.broken(each)).collect(),
            None => changes,
        };
        let answers = self.apply(changes.clone());
        for (each, answer) in changes.iter().zip(answers.iter().flatten()) {
            match answer {
                Committed::Fenced => self.faults.fenced.fetch_add(1, Ordering::Relaxed),
                Committed::Conflict => self.faults.conflicts.fetch_add(1, Ordering::Relaxed),
                Committed::Refused(_) => self.faults.refusals.fetch_add(1, Ordering::Relaxed),
                Committed::Applied { .. } => {
                    self.journal.committed(&*self.inner, &self.gate, each);
                    0
                }
            };
        }
        self.after(answers).await
    }

    async fn committable(&self, _: &PartitionId, position: i64) -> Result<i64, StoreError> {
        Ok(position)
    }

    async fn runs_alone(
        &self,
        partition: &PartitionId,
        assignment: i64,
        offset: Option<i64>,
    ) -> Result<u32, StoreError> {
        self.before().await?;
        let answer = at_once(self.inner.runs_alone(partition, assignment, offset));
        let times = self.journal.runs_alone(&self.gate, partition, offset);
        let answer = match (self.faults.bug, answer) {
            (Some(Bug::WrongEventIsBlamed), Ok(_)) => Ok(times),
            (_, answer) => answer,
        };
        self.after(answer).await
    }

    async fn ended(&self, assignments: &[(PartitionId, i64)]) -> Result<(), StoreError> {
        self.before().await?;
        self.after(at_once(self.inner.ended(assignments))).await
    }

    async fn waiting(&self, limit: usize) -> Result<Vec<(PartitionId, WaitingRow)>, StoreError> {
        at_once(self.inner.waiting(limit))
    }

    async fn positions(&self) -> Result<Vec<(PartitionId, i64)>, StoreError> {
        at_once(self.inner.positions())
    }
}

#[async_trait]
impl OutboxStore for SimulatedStore {
    async fn outbox(&self, after: i64, limit: usize) -> Result<Outbox, StoreError> {
        self.before().await?;
        let mut answer = at_once(self.inner.outbox(after, limit));
        if let (Some(Bug::LettersOvertake), Ok(Outbox::Rows(rows))) = (self.faults.bug, &mut answer)
            && rows.iter().skip(1).any(|row| row.record.key == rows[0].record.key)
            && self.faults.in_thousand(200)
        {
            rows.remove(0);
        }
        answer
    }

    async fn published(&self, rows: Vec<i64>) -> Result<(), StoreError> {
        self.before().await?;
        self.after(at_once(self.inner.published(rows))).await
    }
}

#[async_trait]
impl ReadModel for SimulatedStore {
    async fn view(&self, entity: EntityType, id: &str) -> Result<Option<Value>, StoreError> {
        at_once(self.inner.view(entity, id))
    }

    async fn page(&self, entity: EntityType, page: Page) -> Result<Vec<Listed>, StoreError> {
        at_once(self.inner.page(entity, page))
    }
}

#[async_trait]
impl LetterStore for SimulatedStore {
    async fn window(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
        at_once(self.inner.window(key))
    }

    async fn mark(&self, entry: AuditRow, marks: Vec<LetterMark>) -> Result<(), StoreError> {
        at_once(self.inner.mark(entry, marks))
    }

    async fn marks(&self, ids: Vec<String>) -> Result<Vec<LetterMark>, StoreError> {
        at_once(self.inner.marks(ids))
    }

    async fn audit(&self, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        at_once(self.inner.audit(limit))
    }
}
