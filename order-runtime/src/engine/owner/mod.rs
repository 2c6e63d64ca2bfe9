//! The one task that owns a partition: takes records, runs batches, commits them, and is the only one to change what is
//! known of the partition.

mod recovery;
mod search;
mod state;

use std::{collections::VecDeque, future::poll_fn, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, Interval, MissedTickBehavior, interval},
};
use tracing::warn;

pub(super) use self::search::Blame;
use self::search::Single;
use super::{
    attempt::Finished,
    batch::{Batch, Partition, Plan, Running},
    effects::Effects,
    progress::{Activity, Progress},
    release::{Release, Selection},
    status::PartitionStatus,
    told::{self, Told},
    waiting::{Lane, Waiting},
};
use crate::{
    broker::RecordBatch,
    store::{Assigned, Changes, Committed, Load},
    telemetry::metrics::TopicMetrics,
};

/// The most records of one batch.
pub(super) const BATCH_RECORDS: usize = 4096;
/// The most bytes that are taken from the consumer at once.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// How often a partition that cannot go on looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What the coordinator tells an owner.
#[derive(Debug)]
pub(crate) enum Control {
    /// Finish the batch under way and end.
    Leave,
    /// An operator has paused consumption.
    Pause,
    /// An operator wants a stopped partition tried again.
    Resume,
    /// An operator releases waiting keys.
    Release {
        /// Which.
        which: Arc<Selection>,
        /// How.
        how: Release,
        /// Takes the number of keys that were found.
        found: mpsc::UnboundedSender<usize>,
    },
    /// The consumer asked for an offset that the log does not have.
    OutOfRange {
        /// The first offset of the log.
        log_start: i64,
        /// The offset after its last record.
        log_end: i64,
    },
}

/// A partition's owner.
pub(crate) struct Owner {
    partition: Partition,
    waiting: Waiting,
    running: Running,
    /// Attempts of earlier batches that have ended since.
    finished: Vec<Finished>,
    /// Records that were taken and are not committed: batches, and the next index in the first one.
    backlog: VecDeque<(Arc<RecordBatch>, usize)>,
    position: i64,
    revision: i64,
    /// The most records of the next batch: small after a conflict.
    limit: usize,
    /// One event at a time, to find the one that is at fault.
    single: Option<Single>,
    /// Whether the store was written to since the assignment.
    has_committed: bool,
    stopped: Option<String>,
    /// Lanes whose first event an operator wants dead-lettered.
    condemned: Vec<Lane>,
    controls: mpsc::UnboundedReceiver<Control>,
    ready: Arc<Notify>,
    failures: u32,
    /// When position and waiting events are read again, since they could not be. What is known of them may be wrong until then,
    /// and nothing is done.
    read_again: Option<Instant>,
    /// Conflicts since the last commit.
    conflicts: u32,
    told: Told,
    topic: Arc<TopicMetrics>,
    /// When it looks again where it cannot go on.
    look_again: Interval,
    /// The partition's topic is gone: nothing is to be told to Kafka.
    gone: bool,
}

/// What a batch was made of, as far as its commit needs it.
struct Taken {
    records: usize,
    to: i64,
    /// When those above the position were written, in milliseconds of the Unix epoch.
    written: Vec<i64>,
}

impl Owner {
    pub(crate) fn new(
        partition: Partition,
        assigned: Assigned,
        controls: mpsc::UnboundedReceiver<Control>,
        ready: Arc<Notify>,
    ) -> Self {
        let single = Single::after(&partition.id, &assigned);
        let waiting = partition.waiting(assigned.waiting);
        let topic = partition.engine.metrics.topic(&partition.id.topic);
        // One timer for all waits: a new one for each would be made and ended with each batch.
        let mut look_again = interval(LOOK_AGAIN);
        look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            partition,
            waiting,
            running: Running::new(),
            finished: Vec::new(),
            backlog: VecDeque::new(),
            position: assigned.next_offset,
            revision: assigned.revision,
            limit: BATCH_RECORDS,
            single,
            has_committed: false,
            stopped: None,
            condemned: Vec::new(),
            controls,
            ready,
            failures: 0,
            read_again: None,
            conflicts: 0,
            told: Told::default(),
            topic,
            look_again,
            gone: false,
        }
    }

    /// Owns the partition until it is told to leave. `at` is where delivery begins.
    pub(crate) async fn run(mut self, at: i64) {
        let _ended = EndIsNoted(Arc::clone(&self.partition.status));
        if at != self.position {
            self.jump(at).await;
        }
        self.after_change();
        loop {
            let Some(()) = self.wait_for_work().await else { break };
            self.work().await;
        }
        self.end_cleanly().await;
        self.let_kafka_follow().await;
    }

    /// Waits until there is something to do; `None` when the partition is to be left.
    async fn wait_for_work(&mut self) -> Option<()> {
        let progress = &self.partition.status.progress;
        progress.is_at(Activity::Resting);
        let outbox = Arc::clone(&self.partition.engine.outbox);
        // Before it is looked at, so that no word is missed.
        let room = outbox.room();
        let takes = self.takes_records();
        let due = self.time_to_next_due();
        let read_again = self.read_again.map(|at| at.saturating_duration_since(Instant::now()));
        let unit = Arc::clone(&self.partition.unit);
        tokio::select! {
            biased;
            control = self.controls.recv() => match control {
                None | Some(Control::Leave) => return None,
                Some(Control::Pause) => self.show_state(),
                Some(Control::Resume) => self.resume(),
                Some(Control::Release { which, how, found }) => {
                    // Whoever asked may have stopped waiting for the answer.
                    let _ = found.send(self.release(&which, how));
                }
                Some(Control::OutOfRange { log_start, log_end }) => self.out_of_range(log_start, log_end).await,
            },
            Some(finished) = next_ended(&mut self.running, progress), if !self.running.is_empty() => self.finished.push(finished),
            () = sleep(read_again), if read_again.is_some() => self.reload().await,
            // Attempts that ended together are settled one by one where events run alone, and after what an operator condemned.
            () = std::future::ready(()), if read_again.is_none() && !(self.condemned.is_empty() && self.finished.is_empty()) => {}
            () = unit.asked() => self.load_for_running().await,
            () = self.ready.notified(), if takes && self.backlog.is_empty() => {}
            () = std::future::ready(()), if takes && !self.backlog.is_empty() => {}
            () = sleep(due), if due.is_some() => {}
            // There may be nothing to take, and so no batch after which the state would be shown.
            () = room, if !takes => self.show_state(),
            // What keeps the partition from going on may pass without a word to this task, the full outbox aside; and a store that forgets
            // lets Kafka follow only when the outbox is published.
            _ = self.look_again.tick(), if !takes || !self.partition.engine.store.durable() => {
                self.show_state();
                self.let_kafka_follow().await;
            }
        }
        while let Some(Some(finished)) = self.running.next().now_or_never() {
            self.finished.push(finished);
        }
        Some(())
    }

    /// Runs one batch of what is there, and commits it.
    async fn work(&mut self) {
        if self.read_again.is_some() {
            return;
        }
        if let Some(lane) = self.condemned.pop() {
            return self.condemn(lane, Blame::as_it_failed).await;
        }
        self.fill_backlog();
        let (plan, taken) = self.plan();
        if plan.due.is_empty() && plan.finished.is_empty() && plan.records.is_empty() {
            // Whatever was taken has its outcome already.
            self.forget_records(taken.records);
            return;
        }
        let events = plan.records.len() + plan.finished.len() + plan.due.len();
        let blame = match self.blame(&plan).await {
            Ok(blame) => blame,
            Err(error) => return self.store_failed(&error).await,
        };
        self.partition.status.progress.is_at(Activity::Handling);
        let batch = Batch::new(&self.partition, &self.waiting, &mut self.running, &self.ready);
        let result = match blame {
            Some(blame) => batch.refuse(plan, &blame).await,
            None => batch.run(plan, self.single.is_some()).await,
        };
        self.partition.status.progress.is_at(Activity::Resting);
        match result {
            Ok(effects) => self.commit(effects, taken, events).await,
            Err(error) => self.store_failed(&error).await,
        }
    }

    /// Takes records from the consumer when none are left.
    fn fill_backlog(&mut self) {
        if !self.backlog.is_empty() {
            return;
        }
        if !self.takes_records() {
            // What keeps it from taking may have come just now, after it was told of the records: somebody tells but once.
            self.ready.notify_one();
            return;
        }
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH_RECORDS && bytes < BATCH_BYTES {
            let consumer = &self.partition.engine.consumer;
            let records = consumer.take(&self.partition.id, BATCH_RECORDS - count, BATCH_BYTES - bytes);
            if records.is_empty() {
                // Of what comes after this somebody tells.
                return;
            }
            count += records.len();
            bytes += records.size();
            self.backlog.push_back((Arc::new(records), 0));
        }
        // There may be more than was taken, of which nobody tells a second time: look again when this is done.
        self.ready.notify_one();
    }

    fn plan(&mut self) -> (Plan, Taken) {
        let mut limit = if self.single.is_some() { 1 } else { self.limit };
        let mut plan = Plan { finished: std::mem::take(&mut self.finished), ..Plan::default() };
        if self.single.is_some() {
            self.finished = plan.finished.split_off(plan.finished.len().min(1));
            limit -= plan.finished.len();
        }
        plan.due = self.waiting.due();
        plan.due.truncate(limit);
        if self.single.is_some() {
            limit -= plan.due.len();
        }
        let mut taken = Taken { records: 0, to: self.position, written: Vec::new() };
        if self.takes_records() {
            for (batch, next) in &self.backlog {
                for index in *next..batch.len() {
                    if taken.records == limit {
                        break;
                    }
                    let Some(record) = batch.get(index) else { break };
                    taken.records += 1;
                    // A record below the position has its outcome; this one came again after a seek.
                    if record.offset >= self.position {
                        taken.to = record.offset + 1;
                        taken.written.extend(record.timestamp);
                        plan.records.push((Arc::clone(batch), index));
                    }
                }
            }
        }
        (plan, taken)
    }

    async fn commit(&mut self, mut effects: Effects, taken: Taken, events: usize) {
        let engine = Arc::clone(&self.partition.engine);
        if effects.is_empty() && taken.to == self.position {
            // Everything that was due has to wait for longer.
            self.partition.unit.clear();
            self.forget_records(taken.records);
            self.postpone(&effects.postponed);
            return;
        }
        let unit = self.partition.unit.take_changes(&engine.entities);
        let changes = Changes {
            entities: unit.written.into_iter().map(|(entity, rows)| (entity, rows.into())).collect(),
            reads: unit.read.into_iter().map(|(entity, versions)| (entity, versions.into())).collect(),
            rings: effects.take_changed_rings(),
            waiting: effects.waiting.values().cloned().collect(),
            released: effects.released.keys().copied().collect(),
            outbox: std::mem::take(&mut effects.outbox),
            dead_letters: std::mem::take(&mut effects.dead_letters),
            bytes: effects.bytes,
            ..Changes::of_position((*self.partition.id).clone(), self.revision, self.position, taken.to)
        };
        let waits = self.partition.status.progress.awaits_store();
        let changes = Arc::new(changes);
        let committed = engine.committer.commit(Arc::clone(&changes)).await;
        drop(waits);
        match committed {
            Ok(Committed::Applied { revision }) => self.applied(effects, &changes, &taken, revision).await,
            Ok(Committed::Fenced) => {
                warn!(partition = %self.partition.id, position = self.position, "another owner has moved the position; its work counts");
                self.reload().await;
            }
            Ok(Committed::Conflict) => {
                self.limit = (events / 2).max(1);
                self.conflicts += 1;
                // Two writers of the same rows soon miss each other; what goes on must not become a loop without rest.
                tokio::time::sleep(Duration::from_millis((1 << self.conflicts.min(10)) - 2)).await;
                self.reload().await;
            }
            Ok(Committed::Refused(message)) => self.data_refused(message, events).await,
            Err(error) => self.store_failed(&error).await,
        }
    }

    /// The batch is in the store: what is known of the partition follows.
    async fn applied(&mut self, effects: Effects, changes: &Changes, taken: &Taken, revision: i64) {
        self.failures = 0;
        self.conflicts = 0;
        self.has_committed = true;
        self.position = taken.to;
        self.revision = revision;
        self.limit = (self.limit * 2).min(BATCH_RECORDS);
        self.forget_records(taken.records);
        for (offset, lane) in &effects.released {
            self.waiting.remove(lane, *offset);
        }
        let now = self.partition.engine.clock.now();
        for row in effects.waiting.into_values() {
            self.waiting.insert(row, now);
        }
        if let Some(single) = &mut self.single {
            single.left = single.left.saturating_sub(1);
            if single.left == 0 {
                self.single = None;
            }
        }
        self.postpone(&effects.postponed);
        let successes = effects.tally.processors.iter().map(|[ok, ..]| *ok);
        self.partition.engine.breakers.observe(&effects.trials, successes);
        if self.partition.engine.settings.shadow {
            told::in_shadow(&self.partition.id, &effects.notables);
        } else {
            self.told.of(&self.partition.id, &effects.notables);
        }
        self.topic.batch(effects.tally.consumed, &effects.timing, now.as_millisecond(), &taken.written);
        self.partition.engine.metrics.settled(effects.tally.unplaced(), &effects.tally.letters);
        if let Some(tracer) = &self.partition.engine.tracer {
            tracer.export(effects.spans);
        }
        // First what is to be published: who sees all events counted may take an empty outbox for the end of the work.
        self.partition.engine.outbox.added(&changes.outbox);
        self.partition.engine.status.add(&effects.tally);
        self.after_change();
        self.let_kafka_follow().await;
    }

    /// Lanes whose processors may not be tried yet are due later.
    fn postpone(&mut self, lanes: &[(Lane, Duration)]) {
        for (lane, delay) in lanes {
            self.waiting.postpone(lane, *delay);
        }
    }

    fn forget_records(&mut self, mut count: usize) {
        while count > 0
            && let Some((batch, next)) = self.backlog.front_mut()
        {
            let left = batch.len() - *next;
            if count < left {
                *next += count;
                return;
            }
            count -= left;
            self.backlog.pop_front();
        }
    }

    /// Loads what attempts of earlier batches have asked for.
    async fn load_for_running(&mut self) {
        let engine = &self.partition.engine;
        let load = Load { entities: self.partition.unit.take_wanted(&engine.entities), ..Load::default() };
        if load.entities.is_empty() {
            return;
        }
        let types: Vec<_> = load.entities.iter().map(|(entity, _)| *entity).collect();
        let waits = self.partition.status.progress.awaits_store();
        let loaded = engine.store.load(load).await;
        drop(waits);
        match loaded {
            Ok(loaded) => self.partition.unit.loaded(types.into_iter().zip(loaded.entities).collect()),
            Err(error) => self.store_failed(&error).await,
        }
    }

    /// Tells Kafka how far the group is; what the store knows stays the authority.
    async fn let_kafka_follow(&mut self) {
        if self.gone {
            return;
        }
        let engine = &self.partition.engine;
        let offset = if engine.store.durable() {
            self.position
        } else {
            let _waits = self.partition.status.progress.awaits_store();
            match engine.store.committable(&self.partition.id, self.position).await {
                Ok(offset) => offset,
                Err(_) => return,
            }
        };
        engine.consumer.store_offset(&self.partition.id, offset, &engine.store_id);
    }
}

/// The end of the next attempt that runs on. A processor may block its thread here, too.
async fn next_ended(running: &mut Running, progress: &Progress) -> Option<Finished> {
    poll_fn(|context| {
        progress.goes_on();
        let ended = running.poll_next_unpin(context);
        progress.is_at(Activity::Resting);
        ended
    })
    .await
}

/// Notes when an owner's task ends; one that was asked to is shown no more by then.
struct EndIsNoted(Arc<PartitionStatus>);

impl Drop for EndIsNoted {
    fn drop(&mut self) {
        self.0.progress.is_at(Activity::Ended);
    }
}

/// Sleeps for that long; for ever where there is nothing to wait for.
async fn sleep(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep_until(Instant::now() + delay).await,
        None => std::future::pending().await,
    }
}
