//! One batch of one partition: its events are handled in the order of their key queues, and their effects are collected for
//! one commit.
//!
//! Events of one key queue run one after another; key queues do not wait for each other. An event that does not finish at its
//! first poll blocks only its key queue. An attempt that has not finished when the batch ends goes on running, and its key
//! queue waits in the store.

pub(crate) mod attempt;
pub(crate) mod context;
pub(crate) mod dead_letter;
pub(crate) mod effects;
pub(crate) mod load;
pub(crate) mod prepare;
pub(crate) mod running;
pub(crate) mod settle;
mod trace;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use tokio::{sync::Notify, time::Instant};

use self::{
    attempt::{Attempt, EndedAttempt, Finished, Item},
    context::PartitionContext,
    effects::Effects,
    prepare::{Call, Prepared},
    running::Running,
    settle::Settled,
};
use super::{
    partition::ForcedDeadLetter,
    retry::waiting::{self, QueueId, Waiting},
};
use crate::{
    model::RecordBatch,
    store::{StoreError, WaitingState},
};

/// How long a batch waits for unfinished processors. An event that finishes within this time needs no waiting row in the store.
const PATIENCE: Duration = Duration::from_millis(50);
/// The shorter limit that applies when effects are ready to commit or new records have arrived. A key that hangs delays the other
/// keys of its partition by this time at most.
const NEIGHBOURLY_PATIENCE: Duration = Duration::from_millis(5);
/// The batch yields to other tasks of the thread after this many events.
const EVENTS_A_TURN: usize = 256;

/// The work of one batch.
#[derive(Default)]
pub(crate) struct Plan {
    /// Key queues whose first event is due.
    pub(crate) due: Vec<QueueId>,
    /// Attempts of earlier batches that have ended.
    pub(crate) finished: Vec<Finished>,
    /// New records, in offset order.
    pub(crate) records: Vec<(Arc<RecordBatch>, usize)>,
    /// Whether only the first event of each key queue runs; the events behind it stay in the store.
    pub(crate) alone: bool,
}

impl Plan {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.finished.is_empty() && self.records.is_empty()
    }
}

/// The state of a key queue after one of its events was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Its next event may run.
    Free,
    /// It waits in the store.
    Waits,
    /// An attempt is running.
    Running,
}

enum QueueState {
    /// An attempt is running; `followers` are the events behind it.
    Running { item: Item, followers: VecDeque<Item> },
    /// Its events wait in the store.
    Waits,
    /// It waited before this batch and no longer does.
    Free,
}

/// A running batch.
pub(crate) struct Batch<'a> {
    pub(super) partition: &'a PartitionContext,
    pub(super) waiting: &'a Waiting,
    pub(super) running: &'a mut Running,
    /// Notified when records arrive.
    arrivals: &'a Notify,
    queues: HashMap<QueueId, QueueState, RandomState>,
    /// The number of running attempts of this batch.
    in_flight: usize,
    /// See [`Plan::alone`].
    alone: bool,
    pub(super) effects: Effects,
    pub(super) letters: dead_letter::Writer,
    /// The wall-clock time, read again after each wait instead of for each event.
    pub(super) now: Timestamp,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        partition: &'a PartitionContext,
        waiting: &'a Waiting,
        running: &'a mut Running,
        arrivals: &'a Notify,
    ) -> Self {
        let now = partition.engine.clock.now();
        let (queues, effects, letters) = Default::default();
        Self { partition, waiting, running, arrivals, queues, in_flight: 0, alone: false, effects, letters, now }
    }

    /// Handles everything in the plan.
    ///
    /// # Errors
    /// If the store cannot load the rows that the events need; nothing has changed then.
    pub(crate) async fn run(mut self, plan: Plan) -> Result<Effects, StoreError> {
        self.alone = plan.alone;
        self.load(&plan).await?;
        let begun = Instant::now();
        for finished in plan.finished {
            self.conclude(finished).await?;
        }
        for queue in plan.due {
            let events = if self.alone { 1 } else { usize::MAX };
            let followers = self.waiting.queue(&queue).take(events).map(Item::waited).collect();
            self.drain(queue, followers).await?;
        }
        let mut queue = Vec::new();
        for (count, (records, index)) in plan.records.into_iter().enumerate() {
            if count % EVENTS_A_TURN == EVENTS_A_TURN - 1 {
                tokio::task::yield_now().await;
                self.now = self.partition.engine.clock.now();
            }
            self.arrive(Item::new(records, index), &mut queue).await?;
        }
        self.effects.timing.handling = begun.elapsed();
        self.finish_what_runs().await?;
        self.leave_what_runs_on();
        Ok(self.effects)
    }

    /// Dead-letters the only event of the plan without running it.
    ///
    /// # Errors
    /// If the store cannot load the rows that this needs; nothing has changed then.
    pub(super) async fn refuse(mut self, plan: Plan, forced: &ForcedDeadLetter) -> Result<Effects, StoreError> {
        self.load(&plan).await?;
        let due = plan.due.iter().filter_map(|queue| self.waiting.queue(queue).next().map(Item::waited));
        let come = plan.records.iter().map(|(records, index)| Item::new(Arc::clone(records), *index));
        let ended = plan.finished.iter().map(|finished| finished.ended.item.clone());
        if let Some(item) = ended.chain(due).chain(come).next() {
            let mut queue = Vec::new();
            let record = item.record();
            waiting::queue_of(&record, &mut queue);
            self.effects.is_forced = true;
            self.effects.events.touch(record.offset);
            self.effects.counters.consumed += u64::from(item.row.is_none());
            self.refused(&item, &queue, forced);
        }
        Ok(self.effects)
    }

    /// Handles a new record, or puts it behind the other events of its key queue.
    async fn arrive(&mut self, item: Item, queue: &mut Vec<u8>) -> Result<(), StoreError> {
        let record = item.record();
        self.effects.counters.consumed += 1;
        self.effects.bytes += record.size();
        self.effects.events.touch(record.offset);
        waiting::queue_of(&record, queue);
        match self.queues.get_mut(queue.as_slice()) {
            Some(QueueState::Running { followers, .. }) => {
                followers.push_back(item);
                return Ok(());
            }
            Some(QueueState::Waits) => {
                self.wait(&item, queue, WaitingState::Behind);
                return Ok(());
            }
            None if self.waiting.holds(queue) => {
                self.wait(&item, queue, WaitingState::Behind);
                return Ok(());
            }
            Some(QueueState::Free) | None => {}
        }
        match self.handle(item, queue).await? {
            Flow::Free | Flow::Running => {}
            Flow::Waits => {
                self.queues.insert(queue.as_slice().into(), QueueState::Waits);
            }
        }
        Ok(())
    }

    /// Handles one event until it is settled, waits in the store, or its attempt is pending.
    pub(super) async fn handle(&mut self, mut item: Item, queue: &[u8]) -> Result<Flow, StoreError> {
        loop {
            let Call { entry, processor, delivery } = match self.prepare(&item, queue) {
                Prepared::Call(call) => call,
                Prepared::Settled(flow) => return Ok(flow),
            };
            self.tried(&item, processor);
            match attempt::begin(entry, &delivery) {
                Attempt::Pending(future) => {
                    let timeout = entry.policy.timeout;
                    self.running.push(attempt::drive(future, timeout, item.clone(), queue.into(), processor, delivery));
                    self.occupy(item, queue);
                    return Ok(Flow::Running);
                }
                Attempt::Ended(end) => {
                    let ended = EndedAttempt { item, processor, delivery, end, elapsed: None };
                    match self.settle(queue, ended).await? {
                        Settled::Next(flow) => return Ok(flow),
                        Settled::RunAgain(again) => item = again,
                    }
                }
            }
        }
    }

    /// Starts another attempt after a delay that is too short to justify a row in the store.
    pub(super) fn again_in_place(&mut self, item: Item, queue: &[u8], delay: Duration) -> Flow {
        let Call { entry, processor, delivery } = match self.prepare(&item, queue) {
            Prepared::Call(call) => call,
            Prepared::Settled(flow) => return flow,
        };
        self.tried(&item, processor);
        let (handler, called) = (entry.handler, delivery.clone());
        let future = Box::pin(async move {
            tokio::time::sleep(delay).await;
            handler(called).await
        });
        let timeout = entry.policy.timeout + delay;
        self.running.push(attempt::drive(future, timeout, item.clone(), queue.into(), processor, delivery));
        self.occupy(item, queue);
        Flow::Running
    }

    fn occupy(&mut self, item: Item, queue: &[u8]) {
        self.in_flight += 1;
        self.queues.insert(queue.into(), QueueState::Running { item, followers: VecDeque::new() });
    }

    /// Settles an ended attempt and continues with its key queue.
    async fn conclude(&mut self, finished: Finished) -> Result<(), StoreError> {
        self.now = self.partition.engine.clock.now();
        let Finished { queue, mut ended } = finished;
        let offset = ended.item.record().offset;
        self.effects.events.touch(offset);
        let followers = match self.queues.remove(&queue) {
            Some(QueueState::Running { followers, .. }) => {
                self.in_flight -= 1;
                followers
            }
            _ => {
                // The attempt began in an earlier batch, so its event and the events behind it have rows in the store.
                let (own, behind): (Vec<_>, Vec<_>) =
                    self.waiting.queue(&queue).partition(|waiter| waiter.row.offset == offset);
                ended.item.row = own.first().map(|waiter| Arc::clone(&waiter.row));
                if self.alone { VecDeque::new() } else { behind.into_iter().map(Item::waited).collect() }
            }
        };
        let flow = match self.settle(&queue, ended).await? {
            Settled::Next(flow) => flow,
            Settled::RunAgain(again) => self.handle(again, &queue).await?,
        };
        self.follow(queue, flow, followers).await
    }

    /// Handles the events of a key queue in order, until one of them waits or runs on.
    async fn drain(&mut self, queue: QueueId, mut followers: VecDeque<Item>) -> Result<(), StoreError> {
        if let Some(first) = followers.pop_front() {
            self.effects.events.touch(first.record().offset);
            let flow = self.handle(first, &queue).await?;
            self.follow(queue, flow, followers).await?;
        }
        Ok(())
    }

    async fn follow(
        &mut self,
        queue: QueueId,
        mut flow: Flow,
        mut followers: VecDeque<Item>,
    ) -> Result<(), StoreError> {
        while flow == Flow::Free
            && let Some(next) = followers.pop_front()
        {
            self.effects.events.touch(next.record().offset);
            flow = self.handle(next, &queue).await?;
        }
        match flow {
            Flow::Free => {
                let waits = self.alone && self.waiting.queue(&queue).nth(1).is_some();
                self.queues.insert(queue, if waits { QueueState::Waits } else { QueueState::Free });
            }
            Flow::Running => {
                if let Some(QueueState::Running { followers: behind, .. }) = self.queues.get_mut(&queue) {
                    *behind = followers;
                }
            }
            Flow::Waits => {
                self.put_behind(followers, &queue);
                self.queues.insert(queue, QueueState::Waits);
            }
        }
        Ok(())
    }

    /// Writes waiting rows for the events behind a waiting one; events that already have a row keep it.
    fn put_behind(&mut self, followers: VecDeque<Item>, queue: &[u8]) {
        for item in followers {
            if item.row.is_none() {
                self.wait(&item, queue, WaitingState::Behind);
            }
        }
    }

    /// Waits for the running attempts of this batch, up to the limits [`PATIENCE`] and [`NEIGHBOURLY_PATIENCE`].
    async fn finish_what_runs(&mut self) -> Result<(), StoreError> {
        let begun = Instant::now();
        let mut deadline = begun + PATIENCE;
        let partition = self.partition;
        let (mut have_come, mut others_wait) = (false, false);
        while self.in_flight > 0 {
            if !others_wait && (have_come || !self.effects.is_empty()) {
                others_wait = true;
                let since = if have_come { begun } else { Instant::now() };
                deadline = deadline.min(since + NEIGHBOURLY_PATIENCE);
            }
            tokio::select! {
                biased;
                Some(finished) = self.running.next() => self.conclude_loaded(finished).await?,
                () = partition.unit.asked() => self.load_wanted().await?,
                () = self.arrivals.notified(), if !have_come => {
                    have_come = true;
                    // The notification is meant for the partition owner: pass it on.
                    self.arrivals.notify_one();
                }
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        Ok(())
    }

    /// Settles an attempt; one that began in an earlier batch first needs its deduplication window loaded.
    async fn conclude_loaded(&mut self, finished: Finished) -> Result<(), StoreError> {
        if self.alone && !self.queues.contains_key(&finished.queue) {
            self.effects.ended_meanwhile.push(finished);
            return Ok(());
        }
        let plan = Plan { finished: vec![finished], ..Plan::default() };
        self.load(&plan).await?;
        for finished in plan.finished {
            self.conclude(finished).await?;
        }
        Ok(())
    }

    /// Leaves unfinished attempts running and writes their key queues to the store as waiting.
    fn leave_what_runs_on(&mut self) {
        for (queue, state) in std::mem::take(&mut self.queues) {
            if let QueueState::Running { item, followers } = state {
                self.wait(&item, &queue, WaitingState::Running);
                self.put_behind(followers, &queue);
            }
        }
    }
}
