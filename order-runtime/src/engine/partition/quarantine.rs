//! The quarantine of a partition: its events run one at a time, to find the event whose data the store refuses or that kills the
//! process (a poison event). That event becomes a dead letter.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use tracing::warn;

use super::{Owner, turns::Turn};
use crate::{
    engine::{
        batch::{
            Plan,
            effects::{Effects, Events},
        },
        retry::waiting::{QueueId, Waiting},
    },
    model::{PartitionId, Reason},
    store::{Assigned, Changes, Committed, StoreError, Suspect, WaitingRow, WaitingState},
};

/// A quarantine begins after this many deaths of owners of the partition, or of owners during which the same event was running.
const DEADLY: u32 = 3;
/// Batches are small after this many deaths, so that a quarantine concerns few events.
const CAREFUL: u32 = 2;
/// The size of these small batches in records, and the number of records that a quarantine covers.
pub(super) const CAREFUL_RECORDS: usize = 64;
/// An event is dead-lettered after this many deaths of owners while the event ran alone.
const CHANCES: u32 = 3;

/// The state of a quarantine.
#[derive(Debug)]
pub(super) struct Quarantine {
    /// The events that must have their outcome before the search for a refused event ends. `None` after deaths
    /// of owners: the proof of life ends that quarantine.
    search: Option<Open>,
    /// Whether the next event is a new record instead of a due waiting event. The two alternate.
    pub(super) records_next: bool,
    /// Whether the quarantine began because owners died. Each event is then noted in the store before it runs,
    /// and the process starts no other event until its attempt ends.
    deadly: bool,
    /// The offset of the event that is noted in the store.
    noted: Option<i64>,
}

/// The proof of life of an owner. Deaths of earlier owners count until every event that was running or due at
/// the assignment has its outcome.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// The number of starts without a proof, as the store counts them, this assignment included.
    starts: u32,
    /// The events that still need their outcome; `None` once all have it.
    open: Option<Open>,
    /// The offsets of the suspects in the store.
    pub(super) suspects: BTreeSet<i64>,
}

/// Events that must have their outcome.
#[derive(Debug)]
struct Open {
    /// Key queues that could run, each with the offset of its last waiting event.
    queues: Vec<(QueueId, i64)>,
    /// The position that must be reached, unless the log ends earlier.
    until: i64,
}

/// An event that was committed alone and whose data the store refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) offset: i64,
    message: String,
}

/// A dead letter that the engine forces without running the event: its reason, code and message.
#[derive(Debug)]
pub(crate) struct ForcedDeadLetter {
    pub(crate) reason: Reason,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

impl ForcedDeadLetter {
    /// The dead letter of a waiting event that an operator gives up: it carries the last failure of the event.
    pub(crate) fn as_it_failed(row: &WaitingRow) -> Self {
        let code = if row.error_code.is_empty() { "released".to_owned() } else { row.error_code.clone() };
        Self { reason: Reason::Exhausted, code: code.into(), message: row.error_message.clone() }
    }
}

impl Quarantine {
    /// The search for a refused event, which ends when every event of the refused batch has its outcome.
    fn searching(open: Open) -> Self {
        Self { search: Some(open), records_next: false, deadly: false, noted: None }
    }

    /// The quarantine with which an assignment begins; `None` if too few owners have died.
    pub(super) fn after(partition: &PartitionId, assigned: &Assigned) -> Option<Self> {
        let is_deadly = |suspect: &Suspect| suspect.alone > 0 || suspect.running >= DEADLY;
        if assigned.starts < DEADLY && !assigned.suspects.iter().any(is_deadly) {
            return None;
        }
        warn!(
            %partition,
            starts = assigned.starts,
            suspects = assigned.suspects.len(),
            "owners of the partition have died; its events run one at a time to find the poison event"
        );
        Some(Self { search: None, records_next: false, deadly: true, noted: None })
    }
}

impl Proof {
    /// The proof that an assignment must give. It covers the next record, or [`CAREFUL_RECORDS`] records in a
    /// quarantine, because the last owner used batches of that size.
    pub(super) fn after(assigned: &Assigned, waiting: &Waiting, deadly: bool) -> Self {
        let records = if deadly { i64::try_from(CAREFUL_RECORDS).unwrap_or(i64::MAX) } else { 1 };
        Self {
            starts: assigned.starts,
            open: Some(Open::of(waiting, assigned.next_offset.saturating_add(records))),
            suspects: assigned.suspects.iter().map(|suspect| suspect.offset).collect(),
        }
    }

    /// Whether a commit that moves the position to `to` completes the proof and must report it to the store.
    ///
    /// If no key was due and there is no quarantine, the first commit that moves the position completes the
    /// proof. A process that is ended soon after its start has then shown that it can handle the first event.
    pub(super) fn is_complete(&self, to: i64) -> bool {
        self.starts > 0 && self.open.as_ref().is_none_or(|open| open.queues.is_empty() && to >= open.until)
    }

    /// Whether an idle owner should commit its proof: not if its own start is the only one that counts and there are no suspects.
    pub(super) fn is_wanted(&self) -> bool {
        self.starts > 1 || (self.starts > 0 && !self.suspects.is_empty())
    }
}

/// The position below which batches are small after deaths of earlier owners.
pub(super) fn careful_until(assigned: &Assigned) -> Option<i64> {
    let records = i64::try_from(super::BATCH_RECORDS).unwrap_or(i64::MAX);
    (assigned.starts >= CAREFUL).then(|| assigned.next_offset.saturating_add(records))
}

impl Open {
    /// The waiting events that may run, and the records before `until`.
    fn of(waiting: &Waiting, until: i64) -> Self {
        Self { queues: waiting.that_may_run(), until }
    }

    /// Removes the key queues that can no longer run. Returns whether none is left and the position is reached.
    fn is_settled(&mut self, waiting: &Waiting, position: i64) -> bool {
        self.queues.retain(|(queue, last)| waiting.may_run(queue, *last));
        self.queues.is_empty() && position >= self.until
    }
}

impl Owner {
    /// Handles the store's refusal of a batch whose end position is `to`. If the batch was a single event, the
    /// event is dead-lettered next. Otherwise a quarantine begins; it ends when each event of the batch has its
    /// outcome. Commits cannot be counted instead, because a slow event commits more than once.
    pub(super) async fn data_refused(&mut self, message: String, events: &Events, to: i64) {
        if let Some(offset) = events.only() {
            warn!(partition = %self.partition.id, offset, error = %message, "the store refuses the data of an event; it becomes a dead letter");
            self.refused = Some(Refused { offset, message });
            self.reload().await;
        } else {
            let events = events.count();
            warn!(partition = %self.partition.id, events, error = %message, "the store refuses data of the batch; its events run one at a time to find the refused event");
            self.reload().await;
            if !self.is_deadly() {
                self.quarantine = Some(Quarantine::searching(Open::of(&self.waiting, to)));
            }
        }
    }

    /// Whether the refused event can be dead-lettered now: it is the first of its key queue, or records may be taken.
    pub(super) fn can_reject(&self) -> bool {
        self.stopped.is_none()
            && self
                .refused
                .as_ref()
                .is_some_and(|refused| self.takes_records() || self.waiting.queue_of_first(refused.offset).is_some())
    }

    /// Dead-letters the refused event. The refusal is kept until the dead letter is committed.
    pub(super) async fn reject_refused(&mut self) {
        let Some(Refused { offset, message }) = &self.refused else { return };
        let offset = *offset;
        let forced =
            ForcedDeadLetter { reason: Reason::Rejected, code: "store_refused".into(), message: message.clone() };
        if let Some(queue) = self.waiting.queue_of_first(offset) {
            return self.dead_letter_first(queue, |_| forced).await;
        }
        let mut plan = Plan::default();
        let taken = self.next_records(1, &mut plan.records);
        let next = plan.records.first().and_then(|(records, index)| records.get(*index)).map(|record| record.offset);
        if next == Some(offset) {
            return self.force(plan, &forced, taken).await;
        }
        // The event is not next: another owner has settled it, or it will run again and be refused again.
        self.refused = None;
    }

    fn is_deadly(&self) -> bool {
        self.quarantine.as_ref().is_some_and(|quarantine| quarantine.deadly)
    }

    /// Whether this partition may start events, which a quarantine of another partition of the process can forbid.
    pub(super) fn may_begin(&self) -> bool {
        match &self.turn {
            Some(turn) => turn.has_come(),
            // A deadly quarantine always asks for a turn alone.
            None => self.is_deadly() || self.partition.engine.turns.is_open(),
        }
    }

    /// Asks for a turn if the owner has none. Returns whether events may be started.
    pub(super) fn take_turn(&mut self) -> bool {
        if self.turn.is_none() {
            let turns = &self.partition.engine.turns;
            self.turn = if self.is_deadly() { Some(turns.queue()) } else { turns.share() };
        }
        self.turn.as_ref().is_some_and(Turn::has_come)
    }

    /// Gives the turn back if no attempt is running. Before that, the store notes that no event runs alone here.
    /// Without that note, a poison event of another partition would count against the event that ran alone here last.
    pub(super) async fn end_turn(&mut self) {
        let waits = self.is_deadly() && self.turn.as_ref().is_some_and(|turn| !turn.has_come());
        if waits || !self.running.is_empty() || !self.finished.is_empty() || self.outdated.is_some() {
            return;
        }
        if let Some(quarantine) = &mut self.quarantine
            && quarantine.noted.is_some()
        {
            let store = &self.partition.engine.store;
            match store.runs_alone(&self.partition.id, self.assignment.load(Ordering::Relaxed), None).await {
                Ok(_) => quarantine.noted = None,
                Err(error) => return self.store_failed(&error),
            }
        }
        self.turn = None;
    }

    /// Whether no event may be started now: another partition has the turn, or an event runs alone here.
    pub(super) fn waits_for_one(&self) -> bool {
        !self.may_begin() || (self.is_deadly() && !self.running.is_empty())
    }

    /// Notes the one event of the plan in the store before it runs alone. Returns its dead letter if too many
    /// owners have died while it ran alone.
    ///
    /// # Errors
    /// The store could not note the event.
    pub(super) async fn note_suspect(&mut self, plan: &Plan) -> Result<Option<ForcedDeadLetter>, StoreError> {
        let Some(quarantine) = &mut self.quarantine else { return Ok(None) };
        // A finished attempt has not killed the process.
        if !quarantine.deadly || !plan.finished.is_empty() {
            return Ok(None);
        }
        let due = plan.due.first().and_then(|queue| self.waiting.queue(queue).next()).map(|waiter| waiter.row.offset);
        let come = plan.records.first().and_then(|(records, index)| records.get(*index)).map(|record| record.offset);
        let Some(offset) = due.or(come) else { return Ok(None) };
        let assignment = self.assignment.load(Ordering::Relaxed);
        let deaths = self.partition.engine.store.runs_alone(&self.partition.id, assignment, Some(offset)).await?;
        quarantine.noted = Some(offset);
        self.proof.suspects.insert(offset);
        if deaths < CHANCES {
            return Ok(None);
        }
        let message = format!("the process has ended {CHANCES} times while this event ran alone");
        Ok(Some(ForcedDeadLetter { reason: Reason::Panic, code: "killed_process".into(), message }))
    }

    /// The offsets of the suspects that these effects clear: their attempt has ended, or they no longer wait.
    pub(super) fn cleared(&self, effects: &Effects, to: i64) -> Vec<i64> {
        let may_kill = |offset: i64| match effects.waiting.get(&offset) {
            Some(row) => matches!(row.state, WaitingState::Running | WaitingState::Behind),
            None if effects.released.contains_key(&offset) => false,
            None => offset >= to || (offset < self.position && self.waiting.has(offset)),
        };
        self.proof.suspects.iter().copied().filter(|offset| !may_kill(*offset)).collect()
    }

    /// Updates the proof and the quarantine after a commit.
    pub(super) fn look_for_proof(&mut self, changes: &Changes) {
        if changes.proves {
            self.proof.starts = 0;
        }
        for offset in &changes.cleared {
            self.proof.suspects.remove(offset);
            if let Some(quarantine) = &mut self.quarantine {
                quarantine.noted.take_if(|noted| noted == offset);
            }
        }
        if self.proof.open.as_mut().is_some_and(|open| open.is_settled(&self.waiting, self.position)) {
            self.proof.open = None;
            self.quarantine.take_if(|quarantine| quarantine.deadly);
        }
    }

    /// Ends the search for a refused event when each event of its batch has its outcome.
    pub(super) fn look_for_end_of_search(&mut self) {
        let (waiting, position) = (&self.waiting, self.position);
        self.quarantine
            .take_if(|quarantine| quarantine.search.as_mut().is_some_and(|open| open.is_settled(waiting, position)));
    }

    /// Commits the proof of an idle partition if no event that was running or due at the assignment is left. So a service that is
    /// killed while it is idle does not begin with a quarantine.
    pub(super) async fn prove_when_idle(&mut self) {
        let inbox_status = self.partition.engine.consumer.inbox_status(&self.partition.id);
        let is_idle = self.proof.is_wanted()
            && self.takes_records()
            && self.backlog.is_empty()
            && self.running.is_empty()
            && inbox_status.is_some_and(|inbox_status| inbox_status.lag(self.position) == 0);
        let (waiting, position) = (&self.waiting, self.position);
        let open = &mut self.proof.open;
        // The log ends here, so the proof needs no further records.
        if !is_idle || !open.as_mut().is_none_or(|open| open.is_settled(waiting, position.max(open.until))) {
            return;
        }
        let mut changes =
            Changes::of_position((*self.partition.id).clone(), self.revision, self.position, self.position);
        changes.proves = true;
        changes.cleared = self.cleared(&Effects::default(), self.position);
        let changes = Arc::new(changes);
        match self.ask_to_commit(&changes).await {
            Ok(Committed::Applied { revision }) => {
                self.has_written(self.position, revision);
                self.proof.open = None;
                self.look_for_proof(&changes);
                self.quarantine.take_if(|quarantine| quarantine.deadly);
            }
            Ok(Committed::Fenced) => self.fenced().await,
            Ok(Committed::Conflict) => self.conflicted(1),
            Ok(Committed::Refused(message)) => self.store_failed(&StoreError::Refused(message)),
            Err(error) => self.store_failed(&error),
        }
    }
}
