//! The partition owner: one task per partition that takes records, runs batches and commits them. Only the
//! owner changes the state of its partition.

pub(crate) mod committer;
pub(crate) mod release;
pub(crate) mod turns;

mod backlog;
mod commit;
mod quarantine;
mod recovery;
mod releases;
mod state;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, Interval, MissedTickBehavior, interval},
};

use self::{
    quarantine::{CAREFUL_RECORDS, Proof, Quarantine, Refused},
    recovery::{Jump, Outdated},
    release::{KeySelection, Release},
    releases::Releases,
    state::Stopped,
    turns::Turn,
};
use super::{
    batch::{Batch, attempt::Finished, context::PartitionContext, running::Running},
    observe::{event_log, progress::Activity, status::PartitionStatus},
    retry::waiting::Waiting,
};
pub(super) use crate::engine::partition::quarantine::ForcedDeadLetter;
use crate::{
    model::{LogThrottle, RecordBatch},
    store::{Assigned, Load, Loaded, StoreError},
    telemetry::metrics::TopicMetrics,
};

/// The most records of one batch.
pub(super) const BATCH_RECORDS: usize = 4096;
/// How often a partition that takes no records checks whether it may continue.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A command of the coordinator to a partition owner.
#[derive(Debug)]
pub(crate) enum Control {
    /// Finish the current batch and end.
    Leave,
    /// An operator has paused consumption.
    Pause,
    /// An operator resumes consumption; a stopped partition is tried again.
    Resume,
    /// An operator releases waiting keys.
    Release {
        /// The keys to release.
        which: Arc<KeySelection>,
        /// Whether their first events are retried or dead-lettered.
        how: Release,
        /// Receives the number of released keys.
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
    partition: PartitionContext,
    waiting: Waiting,
    running: Running,
    /// Finished attempts of earlier batches that are not settled yet.
    finished: Vec<Finished>,
    /// Records that were taken and are not committed: batches, each with the index of its next record.
    backlog: VecDeque<(Arc<RecordBatch>, usize)>,
    /// The number of the assignment. The coordinator reads it when the partition is revoked.
    assignment: Arc<AtomicI64>,
    position: i64,
    revision: i64,
    /// The maximum number of records in the next batch; reduced after a conflict.
    limit: usize,
    /// Batches stay small below this position, because earlier owners died here.
    careful_until: Option<i64>,
    /// Set while events run one at a time to find a poison event or refused data.
    quarantine: Option<Quarantine>,
    /// The turn that lets the owner start events; kept while any attempt is running.
    turn: Option<Turn>,
    /// The event whose data the store has refused; it is dead-lettered next.
    refused: Option<Refused>,
    /// A pending move of the position over offsets that the log does not have. No records are taken before it is committed.
    jump: Option<Jump>,
    /// Decides how long the deaths of earlier owners count.
    proof: Proof,
    /// Whether a commit has been applied since this was last cleared.
    has_committed: bool,
    stopped: Option<Stopped>,
    /// Keys that an operator has released; each release is kept until it is committed.
    releases: Releases,
    controls: mpsc::UnboundedReceiver<Control>,
    ready: Arc<Notify>,
    failures: u32,
    /// Set while position, revision and waiting events may differ from those in the store. Nothing is handled or committed then.
    outdated: Option<Outdated>,
    /// Conflicts since the last commit.
    conflicts: u32,
    log_throttle: LogThrottle,
    topic: Arc<TopicMetrics>,
    /// The timer for repeated checks while the partition cannot continue.
    look_again: Interval,
    /// The partition is orphaned and its events are given up: no offset is stored in Kafka.
    is_orphaned: bool,
}

impl Owner {
    pub(crate) fn new(
        partition: PartitionContext,
        assigned: Assigned,
        controls: mpsc::UnboundedReceiver<Control>,
        ready: Arc<Notify>,
    ) -> Self {
        let topic = partition.engine.metrics.topic(&partition.id.topic);
        // One timer for all waits, because a new one would be created and dropped with each batch.
        let mut look_again = interval(LOOK_AGAIN);
        look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut owner = Self {
            partition,
            waiting: Waiting::default(),
            running: Running::default(),
            finished: Vec::new(),
            backlog: VecDeque::new(),
            assignment: Arc::default(),
            position: 0,
            revision: 0,
            limit: BATCH_RECORDS,
            careful_until: None,
            quarantine: None,
            turn: None,
            refused: None,
            jump: None,
            proof: Proof::default(),
            has_committed: false,
            stopped: None,
            releases: Releases::default(),
            controls,
            ready,
            failures: 0,
            outdated: None,
            conflicts: 0,
            log_throttle: LogThrottle::new(event_log::QUIET),
            topic,
            look_again,
            is_orphaned: false,
        };
        owner.take_up(assigned);
        owner
    }

    /// Initializes the owner from the state that the store returned for an assignment.
    fn take_up(&mut self, mut assigned: Assigned) {
        self.quarantine = Quarantine::after(&self.partition.id, &assigned);
        self.careful_until = quarantine::careful_until(&assigned);
        self.limit = if self.careful_until.is_some() { CAREFUL_RECORDS } else { BATCH_RECORDS };
        self.waiting = self.partition.waiting(std::mem::take(&mut assigned.waiting));
        self.proof = Proof::after(&assigned, &self.waiting, self.quarantine.is_some());
        self.assignment.store(assigned.assignment, Ordering::Relaxed);
        self.position = assigned.next_offset;
        self.revision = assigned.revision;
    }

    /// The shared number of the assignment; it changes when the owner takes the partition over again.
    pub(crate) fn assignment(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.assignment)
    }

    /// Runs the owner until [`Control::Leave`] arrives or the coordinator is dropped. `at` is the offset at
    /// which delivery begins.
    pub(crate) async fn run(mut self, at: i64) {
        let _ended = EndIsNoted(Arc::clone(&self.partition.status));
        self.jump = (at != self.position).then_some(Jump { at, seeks: false });
        self.after_change();
        loop {
            let Some(()) = self.wait_for_work().await else { break };
            self.work().await;
            self.end_turn().await;
        }
        self.finish_releases().await;
        self.drop_what_runs();
        self.end_turn().await;
        self.let_kafka_follow().await;
    }

    /// Waits until there is work; `None` if the owner must end.
    async fn wait_for_work(&mut self) -> Option<()> {
        let progress = &self.partition.status.progress;
        progress.is_at(Activity::Resting);
        let outbox = Arc::clone(&self.partition.engine.outbox);
        // Both futures are created before the state is checked, so that no notification is missed.
        let room = outbox.room();
        let turns = Arc::clone(&self.partition.engine.turns);
        let turn_given_back = turns.changed();
        let may_begin = self.may_begin();
        let takes = self.takes_records();
        let due = self.time_to_next_due();
        let read_again =
            self.outdated.as_ref().map(|outdated| outdated.until.saturating_duration_since(Instant::now()));
        let unit = Arc::clone(&self.partition.unit);
        tokio::select! {
            biased;
            control = self.controls.recv() => match control {
                None | Some(Control::Leave) => return None,
                Some(Control::Pause) => self.show_state(),
                Some(Control::Resume) => self.resume(),
                Some(Control::Release { which, how, found }) => {
                    // The operator may have stopped waiting for the answer.
                    let _ = found.send(self.release(&which, how));
                }
                Some(Control::OutOfRange { log_start, log_end }) => self.out_of_range(log_start, log_end),
            },
            Some(finished) = self.running.next_at_rest(progress), if !self.running.is_empty() => self.finished.push(finished),
            () = sleep(read_again), if read_again.is_some() => self.reload().await,
            () = std::future::ready(()), if self.has_work() => {}
            () = unit.asked(), if read_again.is_none() => self.load_for_running().await,
            () = self.ready.notified(), if takes && self.backlog.is_empty() => {}
            () = std::future::ready(()), if takes && !self.backlog.is_empty() => {}
            () = sleep(due), if due.is_some() => {}
            () = turn_given_back, if !may_begin => self.show_state(),
            // Without new records no batch would follow that updates the shown state.
            () = room, if !takes => self.show_state(),
            // The cause that keeps the partition from taking records may end without a notification to this task, except for
            // a full outbox. With a store that is not durable, Kafka's offset can follow only after the outbox is published.
            _ = self.look_again.tick(), if !takes || !self.partition.engine.store.durable() || self.proof.is_wanted() => {
                self.show_state();
                self.let_kafka_follow().await;
                self.prove_when_idle().await;
            }
        }
        while let Some(finished) = self.running.next_ended() {
            self.finished.push(finished);
        }
        Some(())
    }

    /// Whether there is work that no notification announces.
    fn has_work(&self) -> bool {
        self.outdated.is_none()
            && (!self.finished.is_empty() || !self.releases.is_empty() || self.can_jump() || self.can_reject())
    }

    /// Does one step: a jump, a refused event or a release if one is pending, otherwise one batch.
    async fn work(&mut self) {
        if self.outdated.is_some() {
            return;
        }
        if self.can_jump() {
            return self.move_position().await;
        }
        if self.can_reject() {
            return self.reject_refused().await;
        }
        if !self.releases.is_empty() {
            return self.apply_release().await;
        }
        if self.finished.is_empty() && !self.take_turn() {
            // The consumer notifies only once for ready records, so the notification is renewed.
            self.ready.notify_one();
            return;
        }
        if self.quarantine.is_some() && self.backlog.is_empty() {
            // `fill_backlog` looks for records anyway. If the notification stayed, two idle partitions would
            // queue for a turn alone alternately without end.
            self.ready.notified().now_or_never();
        }
        self.fill_backlog();
        let (plan, taken) = self.plan();
        if plan.is_empty() {
            // The taken records already have their outcome.
            self.forget_records(taken.records);
            return;
        }
        let forced = match self.note_suspect(&plan).await {
            Ok(forced) => forced,
            Err(error) => return self.store_failed(&error),
        };
        self.partition.status.progress.is_at(Activity::Handling);
        let batch = Batch::new(&self.partition, &self.waiting, &mut self.running, &self.ready);
        let result = match forced {
            Some(forced) => batch.refuse(plan, &forced).await,
            None => batch.run(plan).await,
        };
        self.partition.status.progress.is_at(Activity::Resting);
        match result {
            Ok(effects) => self.commit(effects, taken).await,
            Err(error) => self.store_failed(&error),
        }
    }

    /// Loads the rows that running attempts have asked for.
    async fn load_for_running(&mut self) {
        let engine = &self.partition.engine;
        let load = Load { entities: self.partition.unit.take_wanted(&engine.entities), ..Load::default() };
        if load.entities.is_empty() {
            return;
        }
        let types: Vec<_> = load.entities.iter().map(|(entity, _)| *entity).collect();
        let partition = &self.partition;
        let answer = async {
            match engine.store.load(load).await {
                Err(StoreError::Refused(_)) => partition.isolate_unreadable().await.map(|()| Loaded::default()),
                answer => answer,
            }
        };
        match self.running.awaiting_store(&partition.status.progress, answer).await {
            Ok(loaded) => self.partition.unit.loaded(types.into_iter().zip(loaded.entities).collect()),
            Err(error) => self.store_failed(&error),
        }
    }

    /// Stores the offset for Kafka, so that the group's committed offset follows the position. The store's position stays
    /// authoritative.
    async fn let_kafka_follow(&mut self) {
        if self.is_orphaned {
            return;
        }
        let engine = &self.partition.engine;
        let offset = if engine.store.durable() {
            self.position
        } else {
            let answer = engine.store.committable(&self.partition.id, self.position);
            match self.running.awaiting_store(&self.partition.status.progress, answer).await {
                Ok(offset) => offset,
                Err(_) => return,
            }
        };
        engine.consumer.store_offset(&self.partition.id, offset, &engine.store_id);
    }
}

/// Sets [`Activity::Ended`] when the owner's task ends. The status of a revoked partition is no longer shown by then.
struct EndIsNoted(Arc<PartitionStatus>);

impl Drop for EndIsNoted {
    fn drop(&mut self) {
        self.0.progress.is_at(Activity::Ended);
    }
}

/// Sleeps for `delay`; never returns if it is `None`.
async fn sleep(delay: Option<Duration>) {
    match delay {
        Some(delay) => tokio::time::sleep_until(Instant::now() + delay).await,
        None => std::future::pending().await,
    }
}
