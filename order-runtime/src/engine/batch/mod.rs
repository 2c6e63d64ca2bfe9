//! One batch of one partition: its events are handled queue by queue, and what they change is collected for one commit.
//!
//! Events of a queue (a key) follow one another; queues do not wait for each other. An event that is not done on the spot blocks its queue
//! only; what has not finished when the batch's time is up goes on running, and its queue waits in the store.

pub(crate) mod attempt;
pub(crate) mod context;
pub(crate) mod dead_letter;
pub(crate) mod effects;
pub(crate) mod load;
pub(crate) mod prepare;
pub(crate) mod running;
pub(crate) mod settle;
pub(crate) mod timing;
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
    attempt::{Attempt, End, EndedAttempt, Finished, Item},
    context::PartitionContext,
    effects::Effects,
    prepare::Reading,
    running::Running,
};
use super::{
    partition::ForcedDeadLetter,
    retry::waiting::{self, QueueId, Waiting},
};
use crate::{
    dispatch::Outcome,
    model::RecordBatch,
    store::{StoreError, WaitingState},
};

/// How long a batch waits for processors that have not finished: what finishes by then needs no row of its own in the store.
const PATIENCE: Duration = Duration::from_millis(50);
/// The same where others wait too: events that are done and want to be committed, or records that have come since. A key
/// that hangs costs its neighbours no more than this.
const NEIGHBOURLY_PATIENCE: Duration = Duration::from_millis(5);
/// After so many events other tasks of the thread get their turn.
const EVENTS_A_TURN: usize = 256;

/// What a batch takes up.
#[derive(Default)]
pub(crate) struct Plan {
    /// Queues whose first event is due.
    pub(crate) due: Vec<QueueId>,
    /// Attempts of earlier batches that have ended since.
    pub(crate) finished: Vec<Finished>,
    /// Records that have just come, in offset order.
    pub(crate) records: Vec<(Arc<RecordBatch>, usize)>,
    /// Only the first event of each queue runs; the events behind it stay in the store.
    pub(crate) alone: bool,
}

impl Plan {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty() && self.finished.is_empty() && self.records.is_empty()
    }
}

/// What follows for a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Its next event may be handled.
    Free,
    /// It waits in the store.
    Waits,
    /// An attempt is under way.
    Running,
}

enum QueueState {
    /// An attempt is under way; these events follow it.
    Running { item: Item, followers: VecDeque<Item> },
    /// Its events wait in the store.
    Waits,
    /// It waited before this batch and does no longer.
    Free,
}

/// A batch under way.
pub(crate) struct Batch<'a> {
    pub(super) partition: &'a PartitionContext,
    pub(super) waiting: &'a Waiting,
    pub(super) running: &'a mut Running,
    /// Tells of records that have come.
    arrivals: &'a Notify,
    queues: HashMap<QueueId, QueueState, RandomState>,
    /// Attempts of this batch that are under way.
    in_flight: usize,
    /// As in the plan.
    alone: bool,
    pub(super) effects: Effects,
    pub(super) letters: dead_letter::Writer,
    /// The time of day, asked for when the batch has waited and not for each event.
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

    /// Handles everything of the plan.
    ///
    /// # Errors
    /// The store could not load what the events need; nothing has changed.
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

    /// Dead-letters the one event of the plan instead of running it.
    ///
    /// # Errors
    /// The store could not load what that needs; nothing has changed.
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

    /// Handles a record that has just come, or puts it behind those of its queue.
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

    /// Handles one event until it is settled, waits or runs on.
    pub(super) async fn handle(&mut self, mut item: Item, queue: &[u8]) -> Result<Flow, StoreError> {
        let mut how = Reading::default();
        loop {
            let prepared = match self.prepare(&item, queue, std::mem::take(&mut how)) {
                Ok(prepared) => prepared,
                Err(flow) => return Ok(flow),
            };
            let attempt = attempt::begin(prepared.entry, &prepared.delivery);
            if matches!(attempt, Attempt::Ended(End::Returned(Outcome::Unread))) {
                how = Reading::Rest(prepared.delivery.envelope().clone());
                continue;
            }
            self.tried(&item, prepared.processor);
            match attempt {
                Attempt::Pending(future) => {
                    let timeout = prepared.entry.policy.timeout;
                    self.running.push(attempt::drive(
                        future,
                        timeout,
                        item.clone(),
                        queue.into(),
                        prepared.processor,
                        prepared.delivery,
                    ));
                    self.occupy(item, queue);
                    return Ok(Flow::Running);
                }
                Attempt::Ended(end) => {
                    let ended = EndedAttempt {
                        item,
                        processor: prepared.processor,
                        delivery: prepared.delivery,
                        end,
                        elapsed: None,
                    };
                    match self.settle(queue, ended).await? {
                        Ok(flow) => return Ok(flow),
                        Err(again) => item = again,
                    }
                }
            }
        }
    }

    /// Starts an attempt after a delay that is too short to be worth a row in the store.
    pub(super) fn again_in_place(&mut self, item: Item, queue: &[u8], delay: Duration) -> Flow {
        let prepared = match self.prepare(&item, queue, Reading::Whole) {
            Ok(prepared) => prepared,
            Err(flow) => return flow,
        };
        self.tried(&item, prepared.processor);
        let (handler, delivery) = (prepared.entry.handler, prepared.delivery.clone());
        let future = Box::pin(async move {
            tokio::time::sleep(delay).await;
            handler(delivery).await
        });
        let timeout = prepared.entry.policy.timeout + delay;
        self.running.push(attempt::drive(
            future,
            timeout,
            item.clone(),
            queue.into(),
            prepared.processor,
            prepared.delivery,
        ));
        self.occupy(item, queue);
        Flow::Running
    }

    fn occupy(&mut self, item: Item, queue: &[u8]) {
        self.in_flight += 1;
        self.queues.insert(queue.into(), QueueState::Running { item, followers: VecDeque::new() });
    }

    /// Settles an attempt that has ended, and goes on with its queue.
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
                // It began in an earlier batch: it and what follows it have waited in the store since.
                let (own, behind): (Vec<_>, Vec<_>) =
                    self.waiting.queue(&queue).partition(|waiter| waiter.row.offset == offset);
                ended.item.row = own.first().map(|waiter| Arc::clone(&waiter.row));
                if self.alone { VecDeque::new() } else { behind.into_iter().map(Item::waited).collect() }
            }
        };
        let flow = match self.settle(&queue, ended).await? {
            Ok(flow) => flow,
            Err(again) => self.handle(again, &queue).await?,
        };
        self.follow(queue, flow, followers).await
    }

    /// Handles the events of a queue in their order, as far as it goes.
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

    /// Events that follow one that waits: those that have a row keep it.
    fn put_behind(&mut self, followers: VecDeque<Item>, queue: &[u8]) {
        for item in followers {
            if item.row.is_none() {
                self.wait(&item, queue, WaitingState::Behind);
            }
        }
    }

    /// Waits for the attempts of this batch, but not longer than a batch may take.
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
                    // It is the owner who is to be told.
                    self.arrivals.notify_one();
                }
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        Ok(())
    }

    /// Settles an attempt that may have begun in an earlier batch, whose window is then not loaded.
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

    /// What has not finished runs on; its queue waits in the store from now on.
    fn leave_what_runs_on(&mut self) {
        for (queue, state) in std::mem::take(&mut self.queues) {
            if let QueueState::Running { item, followers } = state {
                self.wait(&item, &queue, WaitingState::Running);
                self.put_behind(followers, &queue);
            }
        }
    }
}
