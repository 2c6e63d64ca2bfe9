//! The one task that owns a partition: takes records, runs batches, commits them, and is the only one to change what is
//! known of the partition.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tracing::{error, info, warn};

use super::{
    attempt::Finished,
    batch::{Batch, Partition, Plan, Running},
    effects::Effects,
    observe::PartitionState,
    start::{self, Decision},
    told::Told,
    waiting::Waiting,
};
use crate::{
    broker::RecordBatch,
    store::{Assigned, Changes, Committed, Load, StoreError},
};

/// The most records of one batch.
pub(super) const BATCH_RECORDS: usize = 4096;
/// The most bytes that are taken from the consumer at once.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Waiting events may take this much memory before the partition takes no more records.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// How often a partition that cannot go on looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What the coordinator tells an owner.
#[derive(Debug)]
pub(crate) enum Control {
    /// Finish the batch under way and end.
    Leave,
    /// Look again whether there is something to do.
    Wake,
    /// An operator wants a stopped partition tried again.
    Resume,
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
    /// After data that the store refuses: one event at a time, to find whose it is.
    single: Option<Single>,
    stopped: Option<String>,
    controls: mpsc::UnboundedReceiver<Control>,
    ready: Arc<Notify>,
    failures: u32,
    told: Told,
}

/// The search for an event whose data the store refuses.
#[derive(Debug)]
struct Single {
    /// Events that are still to be run alone.
    left: usize,
    /// The word of the store, once an event that ran alone was refused: it is dead-lettered next.
    refused: Option<String>,
}

/// What a batch was made of, as far as its commit needs it.
struct Taken {
    records: usize,
    to: i64,
}

impl Owner {
    pub(crate) fn new(
        partition: Partition,
        assigned: Assigned,
        controls: mpsc::UnboundedReceiver<Control>,
        ready: Arc<Notify>,
    ) -> Self {
        let waiting = Waiting::assigned(assigned.waiting, partition.engine.clock.now());
        Self {
            partition,
            waiting,
            running: Running::new(),
            finished: Vec::new(),
            backlog: VecDeque::new(),
            position: assigned.next_offset,
            revision: assigned.revision,
            limit: BATCH_RECORDS,
            single: None,
            stopped: None,
            controls,
            ready,
            failures: 0,
            told: Told::default(),
        }
    }

    /// Owns the partition until it is told to leave. `at` is where delivery begins.
    pub(crate) async fn run(mut self, at: i64) {
        if at != self.position {
            self.jump(at).await;
        }
        self.after_change();
        loop {
            let Some(()) = self.wait_for_work().await else { break };
            self.work().await;
        }
        self.let_kafka_follow().await;
    }

    /// Waits until there is something to do; `None` when the partition is to be left.
    async fn wait_for_work(&mut self) -> Option<()> {
        self.partition.status.rest();
        let takes = self.takes_records();
        let due = self.time_to_next_due();
        let unit = Arc::clone(&self.partition.unit);
        tokio::select! {
            biased;
            control = self.controls.recv() => match control {
                None | Some(Control::Leave) => return None,
                Some(Control::Wake) => {}
                Some(Control::Resume) => self.resume(),
                Some(Control::OutOfRange { log_start, log_end }) => self.out_of_range(log_start, log_end).await,
            },
            Some(finished) = self.running.next(), if !self.running.is_empty() => self.finished.push(finished),
            () = unit.asked() => self.load_for_running().await,
            () = self.ready.notified(), if takes && self.backlog.is_empty() => {}
            () = std::future::ready(()), if takes && !self.backlog.is_empty() => {}
            () = sleep(due), if due.is_some() => {}
            // What keeps the partition from going on may pass without a word to this task; and a store that forgets
            // lets Kafka follow only when the outbox is published.
            () = tokio::time::sleep(LOOK_AGAIN), if !takes || !self.partition.engine.store.durable() => {
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
        self.fill_backlog();
        let (plan, taken) = self.plan();
        if plan.due.is_empty() && plan.finished.is_empty() && plan.records.is_empty() {
            // Whatever was taken has its outcome already.
            self.forget_records(taken.records);
            return;
        }
        let events = plan.records.len() + plan.finished.len() + plan.due.len();
        let refused = self.single.as_mut().and_then(|single| single.refused.take());
        self.partition.status.begin_work();
        let batch = Batch::new(&self.partition, &self.waiting, &mut self.running);
        let result = match refused {
            Some(message) => batch.refuse(plan, &message).await,
            None => batch.run(plan, self.single.is_some()).await,
        };
        self.partition.status.rest();
        match result {
            Ok(effects) => self.commit(effects, taken, events).await,
            Err(error) => self.store_failed(&error).await,
        }
    }

    /// Takes records from the consumer when none are left.
    fn fill_backlog(&mut self) {
        if !self.backlog.is_empty() || !self.takes_records() {
            return;
        }
        let records = self.partition.engine.consumer.take(&self.partition.id, BATCH_RECORDS, BATCH_BYTES);
        if !records.is_empty() {
            self.backlog.push_back((Arc::new(records), 0));
            // There may be more than was taken, of which nobody tells a second time: look again when this is done.
            self.ready.notify_one();
        }
    }

    fn plan(&mut self) -> (Plan, Taken) {
        let now = self.partition.engine.clock.now();
        let mut limit = if self.single.is_some() { 1 } else { self.limit };
        let mut plan = Plan { finished: std::mem::take(&mut self.finished), ..Plan::default() };
        if self.single.is_some() {
            self.finished = plan.finished.split_off(plan.finished.len().min(1));
            limit -= plan.finished.len();
        }
        plan.due = self.waiting.due(now);
        plan.due.truncate(limit);
        if self.single.is_some() {
            limit -= plan.due.len();
        }
        let mut taken = Taken { records: 0, to: self.position };
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
                        plan.records.push((Arc::clone(batch), index));
                    }
                }
            }
        }
        (plan, taken)
    }

    async fn commit(&mut self, effects: Effects, taken: Taken, events: usize) {
        let engine = Arc::clone(&self.partition.engine);
        let unit = self.partition.unit.changes(&engine.entities);
        let changes = Changes {
            partition: (*self.partition.id).clone(),
            from: self.position,
            to: taken.to,
            revision: self.revision,
            entities: unit.written,
            reads: unit.read,
            rings: effects.changed_rings(),
            waiting: effects.waiting.values().cloned().collect(),
            released: effects.released.keys().copied().collect(),
            outbox: effects.outbox.clone(),
            dead_letters: effects.dead_letters.clone(),
            bytes: effects.bytes,
        };
        match engine.committer.commit(Arc::new(changes)).await {
            Ok(Committed::Applied { revision }) => self.applied(effects, &taken, revision).await,
            Ok(Committed::Fenced) => {
                warn!(partition = %self.partition.id, position = self.position, "another owner has moved the position; its work counts");
                self.reload().await;
            }
            Ok(Committed::Conflict) => {
                self.limit = (events / 2).max(1);
                self.reload().await;
            }
            Ok(Committed::Refused(message)) => self.data_refused(message, events).await,
            Err(error) => self.store_failed(&error).await,
        }
    }

    /// The batch is in the store: what is known of the partition follows.
    async fn applied(&mut self, effects: Effects, taken: &Taken, revision: i64) {
        self.failures = 0;
        self.position = taken.to;
        self.revision = revision;
        self.limit = (self.limit * 2).min(BATCH_RECORDS);
        self.forget_records(taken.records);
        self.partition.unit.clear();
        for (offset, lane) in &effects.released {
            self.waiting.remove(lane, *offset);
        }
        for row in effects.waiting.into_values() {
            self.waiting.insert(row);
        }
        if let Some(single) = &mut self.single {
            single.left = single.left.saturating_sub(1);
            if single.left == 0 {
                self.single = None;
            }
        }
        self.told.of(&self.partition.id, &effects.notables);
        self.partition.engine.status.add(&effects.tally);
        self.partition.engine.outbox.added(effects.outbox.len());
        self.after_change();
        self.let_kafka_follow().await;
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

    /// The store takes no data like this: run one event at a time until the one is found, then dead-letter it.
    async fn data_refused(&mut self, message: String, events: usize) {
        let alone = events == 1;
        warn!(partition = %self.partition.id, error = %message, events, "the store refuses data of the batch; looking for the event");
        self.reload().await;
        let left = self.single.as_ref().map_or(events.max(1), |single| single.left);
        self.single = Some(Single { left, refused: alone.then_some(message) });
    }

    /// The store does not answer, or not in time: what it has done is unknown, so ask it before going on.
    async fn store_failed(&mut self, error: &StoreError) {
        let now = self.partition.engine.clock.now();
        if self.failures == 0 {
            warn!(partition = %self.partition.id, %error, "the store did not do what it was asked; trying again");
        }
        self.failures += 1;
        self.partition.status.set(PartitionState::StoreAway, Some(error.to_string()), now);
        tokio::time::sleep(Duration::from_millis(100 << self.failures.min(6))).await;
        self.reload().await;
    }

    /// Reads position, revision and waiting events again, and drops whatever was under way.
    async fn reload(&mut self) {
        self.running = Running::new();
        self.finished.clear();
        self.partition.unit.clear();
        let engine = Arc::clone(&self.partition.engine);
        match engine.store.reload(&self.partition.id).await {
            Ok(Some(stored)) => {
                self.waiting = Waiting::assigned(stored.waiting, engine.clock.now());
                self.revision = stored.revision;
                if stored.next_offset < self.position {
                    // Records in between were taken before and are no longer here.
                    self.backlog.clear();
                    engine.consumer.seek(&self.partition.id, stored.next_offset);
                }
                self.position = stored.next_offset;
                self.after_change();
            }
            Ok(None) => self.stop(
                "the partition's position has vanished from the store; restore the store, or restart to begin anew",
            ),
            // The next batch finds out: its compare-and-set fails or its load does.
            Err(error) => warn!(partition = %self.partition.id, %error, "the position could not be read again"),
        }
    }

    /// Moves the position without handling what lies between.
    async fn jump(&mut self, at: i64) {
        let changes = Changes {
            partition: (*self.partition.id).clone(),
            from: self.position,
            to: at,
            revision: self.revision,
            entities: Vec::new(),
            reads: Vec::new(),
            rings: Vec::new(),
            waiting: Vec::new(),
            released: Vec::new(),
            outbox: Vec::new(),
            dead_letters: Vec::new(),
            bytes: 0,
        };
        match self.partition.engine.committer.commit(Arc::new(changes)).await {
            Ok(Committed::Applied { revision }) => {
                self.position = at;
                self.revision = revision;
            }
            Ok(_) => self.reload().await,
            Err(error) => self.store_failed(&error).await,
        }
    }

    /// The consumer cannot read on at the position.
    async fn out_of_range(&mut self, log_start: i64, log_end: i64) {
        let policy = self.partition.engine.settings.on_truncation;
        match start::within_log(self.position, log_start, log_end, policy) {
            Decision::Begin { at, skipped } => {
                if skipped > 0 {
                    error!(partition = %self.partition.id, position = self.position, log_start, skipped, "the log has dropped records before they were handled; they are lost");
                }
                self.backlog.clear();
                self.jump(at).await;
                self.partition.engine.consumer.seek(&self.partition.id, self.position);
            }
            Decision::Stop(reason) => self.stop(&reason),
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
        match engine.store.load(load).await {
            Ok(loaded) => self.partition.unit.loaded(types.into_iter().zip(loaded.entities).collect()),
            Err(error) => self.store_failed(&error).await,
        }
    }

    /// Whether new records may be taken now.
    fn takes_records(&self) -> bool {
        let engine = &self.partition.engine;
        self.stopped.is_none()
            && !engine.status.paused.load(Ordering::Relaxed)
            && !engine.outbox.full()
            && self.waiting.bytes() < WAITING_BYTES
    }

    fn time_to_next_due(&self) -> Option<Duration> {
        if self.stopped.is_some() {
            return None;
        }
        let wait = self.waiting.next_due()?.duration_since(self.partition.engine.clock.now());
        Some(Duration::try_from(wait).unwrap_or_default())
    }

    fn stop(&mut self, reason: &str) {
        error!(partition = %self.partition.id, reason, "the partition stops");
        self.stopped = Some(reason.to_owned());
        self.partition.engine.consumer.pause(&self.partition.id);
        self.show_state();
    }

    fn resume(&mut self) {
        self.waiting.release_stopped(self.partition.engine.clock.now());
        if self.stopped.take().is_some() {
            info!(partition = %self.partition.id, "the partition is resumed");
        }
        self.partition.engine.consumer.resume(&self.partition.id);
        self.show_state();
    }

    /// Shows what is known of the partition, and stops it where an event demands that.
    fn after_change(&mut self) {
        let status = &self.partition.status;
        status.position.store(self.position, Ordering::Relaxed);
        status.waiting_lanes.store(self.waiting.lanes(), Ordering::Relaxed);
        status.waiting_events.store(self.waiting.events(), Ordering::Relaxed);
        if self.stopped.is_none()
            && let Some(row) = self.waiting.stopped_by()
        {
            let reason = format!(
                "the event at offset {} stopped it: {} ({}); resume to try it again",
                row.offset, row.error_message, row.error_code
            );
            self.stop(&reason);
        }
        self.show_state();
    }

    fn show_state(&self) {
        let engine = &self.partition.engine;
        let (state, reason) = if let Some(reason) = &self.stopped {
            (PartitionState::Stopped, Some(reason.clone()))
        } else if engine.status.paused.load(Ordering::Relaxed) {
            (PartitionState::Paused, Some("an operator has paused consumption".to_owned()))
        } else if self.failures > 0 {
            return;
        } else if engine.outbox.full() {
            (PartitionState::Full, Some("too many dead letters wait to be published".to_owned()))
        } else if self.waiting.bytes() >= WAITING_BYTES {
            let held = self.waiting.held();
            (PartitionState::Full, Some(format!("{} events wait, {held} keys are held", self.waiting.events())))
        } else {
            (PartitionState::Running, None)
        };
        self.partition.status.set(state, reason, engine.clock.now());
    }

    /// Tells Kafka how far the group is; what the store knows stays the authority.
    async fn let_kafka_follow(&mut self) {
        let engine = &self.partition.engine;
        let offset = if engine.store.durable() {
            self.position
        } else {
            match engine.store.committable(&self.partition.id, self.position).await {
                Ok(offset) => offset,
                Err(_) => return,
            }
        };
        engine.consumer.store_offset(&self.partition.id, offset, &engine.store_id);
    }
}

/// Sleeps for that long; for ever where there is nothing to wait for.
async fn sleep(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep_until(Instant::now() + delay).await,
        None => std::future::pending().await,
    }
}
