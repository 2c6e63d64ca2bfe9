//! What an owner does when the store has not done what it was asked, or the log is not where it was.

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

/// Where the position is to go on, because the log does not have the offsets in between.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jump {
    pub(super) at: i64,
    /// Whether the consumer has to follow; at an assignment it begins there by itself.
    pub(super) seeks: bool,
}

/// How long an owner waits for the revocation of its partition where the store knows a later assignment.
const TAKE_OVER: Duration = Duration::from_secs(5);

/// Why an event could not be given up.
const NOT_COMMITTED: &str =
    "another instance has changed the partition meanwhile, or the store does not take the dead letter";

impl Owner {
    /// The store does not answer, or not in time: what it has done is unknown, so it is asked before anything goes on.
    pub(super) fn store_failed(&mut self, error: &StoreError) {
        if self.failures == 0 {
            warn!(partition = %self.partition.id, %error, "the store did not do what it was asked; trying again");
        }
        let delay = self.store_is_away(error);
        self.read_again_in(delay);
    }

    /// Reads again after a while, in which the partition can be left. Nothing of what is under way counts until then.
    pub(super) fn read_again_in(&mut self, delay: Duration) {
        self.drop_what_runs();
        self.read_again = Some(Instant::now() + delay);
    }

    pub(super) fn drop_what_runs(&mut self) {
        self.running = Running::default();
        self.finished.clear();
        self.partition.unit.clear();
    }

    /// Notes a failure. Answers how long to wait before the store is asked again.
    fn store_is_away(&mut self, error: &StoreError) -> Duration {
        let now = self.partition.engine.clock.now();
        self.failures += 1;
        self.partition.status.set(PartitionState::StoreAway, Some(error.to_string()), now);
        Duration::from_millis(100 << self.failures.min(6))
    }

    /// Reads position, revision and waiting events again, and drops whatever was under way. Where that fails too, it is done again
    /// before anything else: no attempt runs any more of what is known to run.
    pub(super) async fn reload(&mut self) {
        self.read_again = None;
        self.drop_what_runs();
        let engine = Arc::clone(&self.partition.engine);
        let waits = self.partition.status.progress.awaits_store();
        let id = &self.partition.id;
        let stored = match self.superseded {
            Some(later) => assigned_again(&*engine.store, id, later).await,
            None => engine.store.reload(id).await,
        };
        drop(waits);
        match stored {
            Ok(Some(stored)) if self.superseded.is_some() => self.take_over(stored),
            Ok(Some(stored)) if stored.assignment != self.assignment.load(Ordering::Relaxed) => {
                self.is_superseded(stored.assignment);
            }
            Ok(Some(stored)) => {
                if stored.revision != self.revision {
                    // Something was committed, be it that only the answer was lost; there may be nothing more to commit.
                    self.failures = 0;
                }
                // Its commit may have been applied although the answer was lost. No other owner was assigned, so until then it is due.
                let jump_is_over = self.jump.is_some_and(|jump| jump.at == stored.next_offset);
                if jump_is_over {
                    self.jump = None;
                }
                self.waiting = self.partition.waiting(stored.waiting);
                self.proof.suspects = stored.suspects.iter().map(|suspect| suspect.offset).collect();
                self.revision = stored.revision;
                if jump_is_over || stored.next_offset < self.position {
                    // Records in between were taken before and are no longer here.
                    self.backlog.clear();
                    engine.consumer.seek(&self.partition.id, stored.next_offset);
                }
                self.position = stored.next_offset;
                self.after_change();
                self.judge_log();
            }
            Ok(None) => self.stop(
                "the partition's position has vanished from the store; restore the store, or restart to begin anew",
            ),
            Err(error) => {
                warn!(partition = %self.partition.id, %error, "the position could not be read again");
                self.read_again = Some(Instant::now() + self.store_is_away(&error));
            }
        }
    }

    /// Another owner was assigned the partition after this one. Most likely the consumer group has moved the partition, and this
    /// process learns of it next. A process that was frozen during an earlier assignment may have come late, though: then nobody else
    /// owns the partition for long, and this owner takes it over again.
    fn is_superseded(&mut self, later: i64) {
        warn!(
            partition = %self.partition.id,
            "the store knows a later assignment of the partition; unless it is revoked here, this instance takes it over in {} s",
            TAKE_OVER.as_secs()
        );
        self.superseded = Some(later);
        self.read_again = Some(Instant::now() + TAKE_OVER);
    }

    /// Begins again as at an assignment. Records that were fetched before may no longer be in the log, and a jump was decided by where
    /// the log ended then. It holds only where nobody has committed anything since; otherwise the consumer reads on at the position
    /// and reports again where it cannot.
    fn take_over(&mut self, stored: Assigned) {
        self.superseded = None;
        self.failures = 0;
        self.turn = None;
        self.refused = None;
        self.backlog.clear();
        let assignments = stored.assignment - self.assignment.load(Ordering::Relaxed);
        let has_changed = stored.revision - self.revision != assignments;
        self.jump = self.jump.filter(|_| !has_changed).map(|jump| Jump { seeks: true, ..jump });
        self.take_up(stored);
        if has_changed {
            self.log = None;
        }
        if self.jump.is_none() {
            self.partition.engine.consumer.seek(&self.partition.id, self.position);
        }
        self.after_change();
        self.judge_log();
    }

    /// Dead-letters everything that waits, in order, and answers how many events that were. It ends when nothing can be committed; for
    /// an operator, at the first event that is not, since another owner may go on with the rest.
    pub(crate) async fn give_up(mut self, because: Because) -> Result<u64, String> {
        self.gone = true;
        let mut given_up = 0;
        while self.waiting.queues() > 0 {
            let before = given_up;
            for queue in self.waiting.select(|_| true) {
                self.has_committed = false;
                self.dead_letter_first(queue, |row| because.forced_dead_letter(row)).await;
                if self.superseded.is_some() {
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

    /// Waits until what is known of the partition is right again.
    async fn recover(&mut self) {
        while let Some(at) = self.read_again.filter(|_| self.superseded.is_none()) {
            tokio::time::sleep_until(at).await;
            self.reload().await;
        }
    }

    /// Whether the position can be moved now. Waiting events have their places by their offsets, so those that lie where
    /// other records will come are settled first.
    pub(super) fn can_jump(&self) -> bool {
        let Some(jump) = self.jump else { return false };
        jump.at >= self.position || self.waiting.is_below(jump.at)
    }

    /// Moves the position without handling what lies between. It is tried until it is committed, or until another owner has
    /// moved the position: what comes meanwhile would be taken for handled.
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

    /// The consumer cannot read on at the position. Where the position is not known just now, that is judged when it is.
    pub(super) fn out_of_range(&mut self, log_start: i64, log_end: i64) {
        self.log = Some((log_start, log_end));
        if self.read_again.is_none() {
            self.judge_log();
        }
    }

    fn judge_log(&mut self) {
        let Some((log_start, log_end)) = self.log.take() else { return };
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

/// Assigns a partition again to the owner that has it, so that the later assignment does not count as the life of an owner.
async fn assigned_again(store: &dyn Store, id: &PartitionId, later: i64) -> Result<Option<Assigned>, StoreError> {
    store.ended(&[(id.clone(), later)]).await?;
    store.assigned(std::slice::from_ref(id)).await.map(|mut known| known.pop().flatten())
}
