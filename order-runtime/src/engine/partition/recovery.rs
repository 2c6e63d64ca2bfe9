//! Recovery of a partition owner: after failed store requests, later assignments, and logs that do not have the position.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{error, warn};

use super::Owner;
use crate::{
    engine::{
        assignment::{
            orphaned::Because,
            start::{self, Decision},
        },
        batch::running::Running,
        observe::PartitionState,
    },
    model::PartitionId,
    store::{Assigned, Changes, Committed, Store, StoreError},
};

/// The owner's position, revision and waiting events may differ from those in the store, until they are read again.
#[derive(Debug)]
pub(super) struct Outdated {
    /// When they are read again.
    pub(super) until: Instant,
    /// The number of a later assignment that the store has, if there is one. The partition is then taken over.
    later: Option<i64>,
    /// The start and end of the log, if the consumer has reported meanwhile that the log does not have the position.
    log: Option<(i64, i64)>,
}

/// A move of the position over offsets that the log does not have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jump {
    pub(super) at: i64,
    /// Whether the consumer must seek; at an assignment it begins there by itself.
    pub(super) seeks: bool,
}

/// How long an owner waits for the revocation of its partition if the store has a later assignment.
const TAKE_OVER: Duration = Duration::from_secs(5);

/// The error text for an event that could not be given up.
const NOT_COMMITTED: &str =
    "another instance has changed the partition meanwhile, or the store does not accept the dead letter";

impl Owner {
    /// Handles a failed store request. Its effect is unknown, so the partition is read again before anything else is done.
    pub(super) fn store_failed(&mut self, error: &StoreError) {
        if self.failures == 0 {
            warn!(partition = %self.partition.id, %error, "a store request failed; retrying");
        }
        let delay = self.store_is_away(error);
        self.read_again_in(delay);
    }

    /// Drops running attempts and reads the partition again after `delay`. The owner can end during the delay.
    pub(super) fn read_again_in(&mut self, delay: Duration) {
        self.drop_what_runs();
        let until = Instant::now() + delay;
        self.outdated.get_or_insert(Outdated { until, later: None, log: None }).until = until;
    }

    pub(super) fn drop_what_runs(&mut self) {
        self.running = Running::default();
        self.finished.clear();
        self.partition.unit.clear();
    }

    /// Counts a failure of the store. Returns the delay before the next request.
    fn store_is_away(&mut self, error: &StoreError) -> Duration {
        let now = self.partition.engine.clock.now();
        self.failures += 1;
        self.partition.status.set(PartitionState::StoreAway, Some(error.to_string()), now);
        Duration::from_millis(100 << self.failures.min(6))
    }

    /// Drops running attempts and reads position, revision and waiting events again. If that fails, it is
    /// repeated before anything else, because waiting events that are known as running have no attempt any more.
    pub(super) async fn reload(&mut self) {
        let (later, log) = self.outdated.take().map_or((None, None), |outdated| (outdated.later, outdated.log));
        self.drop_what_runs();
        let engine = Arc::clone(&self.partition.engine);
        let waits = self.partition.status.progress.awaits_store();
        let id = &self.partition.id;
        let stored = match later {
            Some(later) => assigned_again(&*engine.store, id, later).await,
            None => engine.store.reload(id).await,
        };
        drop(waits);
        match stored {
            Ok(Some(stored)) if later.is_some() => self.take_over(stored, log),
            Ok(Some(stored)) if stored.assignment != self.assignment.load(Ordering::Relaxed) => {
                self.is_superseded(stored.assignment, log);
            }
            Ok(Some(stored)) => {
                if stored.revision != self.revision {
                    // A commit was applied, even if its answer was lost. The failures end here, because no
                    // further commit may follow.
                    self.failures = 0;
                }
                // The commit of the jump may have been applied although its answer was lost. Otherwise the jump is still pending,
                // because no other owner was assigned.
                let jump_is_over = self.jump.is_some_and(|jump| jump.at == stored.next_offset);
                if jump_is_over {
                    self.jump = None;
                }
                self.waiting = self.partition.waiting(stored.waiting);
                self.proof.suspects = stored.suspects.iter().map(|suspect| suspect.offset).collect();
                self.revision = stored.revision;
                if jump_is_over || stored.next_offset < self.position {
                    // Records from the stored position on were taken before and are no longer in the backlog,
                    // so they are fetched again.
                    self.backlog.clear();
                    engine.consumer.seek(&self.partition.id, stored.next_offset);
                }
                self.position = stored.next_offset;
                self.after_change();
                self.judge_log(log);
            }
            Ok(None) => self.stop(
                "the store no longer has the position of the partition; restore the store, or restart to begin as at a first start",
            ),
            Err(error) => {
                warn!(partition = %self.partition.id, %error, "failed to read the position again; retrying");
                let delay = self.store_is_away(&error);
                self.outdated = Some(Outdated { until: Instant::now() + delay, later, log });
            }
        }
    }

    /// Handles a later assignment of the partition in the store. Most likely the consumer group has moved the partition, and its
    /// revocation follows here. If it does not follow, the later assignment came from a process that was frozen during an earlier
    /// assignment. No other process owns the partition then, so this owner takes it over again.
    fn is_superseded(&mut self, later: i64, log: Option<(i64, i64)>) {
        warn!(
            partition = %self.partition.id,
            "the store has a later assignment of the partition; this instance takes the partition over in {} s unless it is revoked first",
            TAKE_OVER.as_secs()
        );
        self.outdated = Some(Outdated { until: Instant::now() + TAKE_OVER, later: Some(later), log });
    }

    /// Begins again as at an assignment. Records that were fetched before may no longer be in the log, so they are
    /// dropped. A jump was decided by an earlier state of the log. It stays valid only if no other owner has committed
    /// since. Otherwise the consumer continues at the position, and reports again if the log does not have it.
    fn take_over(&mut self, stored: Assigned, log: Option<(i64, i64)>) {
        self.failures = 0;
        self.turn = None;
        self.refused = None;
        self.backlog.clear();
        let assignments = stored.assignment - self.assignment.load(Ordering::Relaxed);
        let has_changed = stored.revision - self.revision != assignments;
        self.jump = self.jump.filter(|_| !has_changed).map(|jump| Jump { seeks: true, ..jump });
        self.take_up(stored);
        if self.jump.is_none() {
            self.partition.engine.consumer.seek(&self.partition.id, self.position);
        }
        self.after_change();
        self.judge_log(log.filter(|_| !has_changed));
    }

    /// Dead-letters all waiting events in order and returns their number.
    ///
    /// # Errors
    /// A later assignment exists, or a round over all keys has committed nothing. For an operator, the first event that is not
    /// committed is an error, because another owner may handle the rest.
    pub(crate) async fn give_up(mut self, because: Because) -> Result<u64, String> {
        self.is_orphaned = true;
        let mut given_up = 0;
        while self.waiting.queues() > 0 {
            let before = given_up;
            for queue in self.waiting.select(|_| true) {
                self.has_committed = false;
                self.dead_letter_first(queue, |row| because.forced_dead_letter(row)).await;
                if self.is_taken_elsewhere() {
                    return Err(format!("after {given_up} events, {NOT_COMMITTED}"));
                }
                given_up += u64::from(self.has_committed);
                if because == Because::Operator && !self.has_committed {
                    return Err(format!("after {given_up} events, {NOT_COMMITTED}"));
                }
                self.recover().await;
            }
            if given_up == before {
                return Err(NOT_COMMITTED.to_owned());
            }
        }
        Ok(given_up)
    }

    /// Reads the partition again until that succeeds, or a later assignment is found.
    async fn recover(&mut self) {
        while let Some(outdated) = self.outdated.as_ref().filter(|outdated| outdated.later.is_none()) {
            tokio::time::sleep_until(outdated.until).await;
            self.reload().await;
        }
    }

    /// Whether the store has a later assignment of the partition.
    fn is_taken_elsewhere(&self) -> bool {
        self.outdated.as_ref().is_some_and(|outdated| outdated.later.is_some())
    }

    /// Whether the position can be moved now. Waiting events are identified by their offsets. Before the
    /// position moves back, those at offsets that new records will take must be settled.
    pub(super) fn can_jump(&self) -> bool {
        let Some(jump) = self.jump else { return false };
        jump.at >= self.position || self.waiting.is_below(jump.at)
    }

    /// Moves the position without handling the offsets in between. The move is tried until it is committed or another
    /// owner has moved the position; no record is taken before that, because it could wrongly count as handled.
    pub(super) async fn move_position(&mut self) {
        let Some(Jump { at, seeks }) = self.jump else { return };
        let changes = Changes::of_position((*self.partition.id).clone(), self.revision, self.position, at);
        match self.ask_to_commit(&Arc::new(changes)).await {
            Ok(Committed::Applied { revision }) => {
                self.has_written(at, revision);
                self.jump = None;
                if seeks {
                    self.partition.engine.consumer.seek(&self.partition.id, at);
                }
                self.after_change();
                self.let_kafka_follow().await;
            }
            Ok(Committed::Fenced) => self.fenced().await,
            Ok(Committed::Conflict) => self.conflicted(1),
            Ok(Committed::Refused(message)) => self.store_failed(&StoreError::Refused(message)),
            Err(error) => self.store_failed(&error),
        }
    }

    /// Handles a log that does not have the position. If the position is currently unknown, this is decided
    /// after it is read again.
    pub(super) fn out_of_range(&mut self, log_start: i64, log_end: i64) {
        match &mut self.outdated {
            Some(outdated) => outdated.log = Some((log_start, log_end)),
            None => self.judge_log(Some((log_start, log_end))),
        }
    }

    fn judge_log(&mut self, log: Option<(i64, i64)>) {
        let Some((log_start, log_end)) = log else { return };
        let policy = self.partition.engine.settings.on_truncation;
        match start::within_log(self.position, log_start, log_end, policy) {
            Decision::Begin { at, skipped, restored_below: _ } => {
                if skipped > 0 {
                    self.partition.engine.metrics.dropped(skipped);
                    error!(partition = %self.partition.id, position = self.position, log_start, skipped, "the log has dropped records before they were handled; they are lost");
                }
                self.backlog.clear();
                self.jump = Some(Jump { at, seeks: true });
                self.show_state();
            }
            Decision::Stop(reason) => self.stop(&reason),
        }
    }
}

/// Assigns a partition again to its current owner. The later assignment is noted as ended first, so that it
/// does not count as a dead owner.
async fn assigned_again(store: &dyn Store, id: &PartitionId, later: i64) -> Result<Option<Assigned>, StoreError> {
    store.ended(&[(id.clone(), later)]).await?;
    store.assigned(std::slice::from_ref(id)).await.map(|mut known| known.pop().flatten())
}
