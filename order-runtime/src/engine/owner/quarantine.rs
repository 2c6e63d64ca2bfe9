//! Events that their partition cannot get past: one whose data the store refuses, and one that kills the process.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use tracing::warn;

use super::Owner;
use crate::{
    engine::{
        batch::Plan,
        effects::{Effects, Events},
        turns::Turn,
        waiting::{Lane, Waiting},
    },
    model::{PartitionId, Reason},
    store::{Assigned, Changes, Committed, StoreError, Suspect, WaitingRow, WaitingState},
};

/// Deaths of owners after which events run alone: of any owners, or of those that an event was running with.
const DEADLY: u32 = 3;
/// Deaths after which batches are small, so that few events need to run alone if the next owner dies as well.
const CAREFUL: u32 = 2;
/// The most records of a batch then, and as many records run alone.
pub(super) const CAREFUL_RECORDS: usize = 64;
/// Deaths of owners while an event ran alone, after which it is dead-lettered.
const CHANCES: u32 = 3;

/// Events run one at a time.
#[derive(Debug)]
pub(super) struct Single {
    /// What is still to be settled before the search for a refused event ends; `None` where owners have died, whose proof ends it.
    search: Option<Open>,
    /// Whether a record comes before a waiting event that is due.
    pub(super) records_next: bool,
    /// Owners have died here: each event is noted in the store before it runs, and nothing else runs until its attempt ends.
    deadly: bool,
    /// The event that the store knows to run alone.
    noted: Option<i64>,
}

/// Whether the deaths of earlier owners still count: until everything has been settled that was under way then.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Deaths that the store counts, this assignment included.
    starts: u32,
    /// What is still to be settled; `None` when that is done, and the store is to know.
    open: Option<Open>,
    /// Events that the store suspects.
    pub(super) suspects: BTreeSet<i64>,
}

/// Events whose attempts have to end.
#[derive(Debug)]
struct Open {
    /// Keys whose turn it was, each with its last waiting event.
    lanes: Vec<(Lane, i64)>,
    /// The position that must be reached, unless the log ends before.
    until: i64,
}

/// The store's verdict on an event that was settled alone. It is about this event and no other one.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) offset: i64,
    message: String,
}

/// Why an event is dead-lettered that no processor has rejected.
#[derive(Debug)]
pub(in crate::engine) struct Blame {
    pub(in crate::engine) reason: Reason,
    pub(in crate::engine) code: Cow<'static, str>,
    pub(in crate::engine) message: String,
}

impl Blame {
    /// What an operator gives up failed for the reason that it had failed for.
    pub(in crate::engine) fn as_it_failed(row: &WaitingRow) -> Self {
        let code = if row.error_code.is_empty() { "released".to_owned() } else { row.error_code.clone() };
        Self { reason: Reason::Exhausted, code: code.into(), message: row.error_message.clone() }
    }
}

impl Single {
    /// One at a time, until everything is settled that the refused batch may have had.
    fn searching(open: Open) -> Self {
        Self { search: Some(open), records_next: false, deadly: false, noted: None }
    }

    /// What an assignment demands.
    pub(super) fn after(partition: &PartitionId, assigned: &Assigned) -> Option<Self> {
        let is_deadly = |suspect: &Suspect| suspect.alone > 0 || suspect.running >= DEADLY;
        if assigned.starts < DEADLY && !assigned.suspects.iter().any(is_deadly) {
            return None;
        }
        warn!(
            %partition,
            starts = assigned.starts,
            suspects = assigned.suspects.len(),
            "owners of the partition have died; its events run one at a time to find the one that kills"
        );
        Some(Self { search: None, records_next: false, deadly: true, noted: None })
    }
}

impl Proof {
    /// What an assignment has to show. The batches of the owner that died last were small.
    pub(super) fn after(assigned: &Assigned, waiting: &Waiting, deadly: bool) -> Self {
        let records = if deadly { i64::try_from(CAREFUL_RECORDS).unwrap_or(i64::MAX) } else { 1 };
        Self {
            starts: assigned.starts,
            open: Some(Open::of(waiting, assigned.next_offset.saturating_add(records))),
            suspects: assigned.suspects.iter().map(|suspect| suspect.offset).collect(),
        }
    }

    /// Whether everything is settled and the store does not know yet.
    ///
    /// A commit that moves the position to `to` completes it by itself where no key was due: a process that is ended again soon
    /// after its first commit has then shown that it could handle the event that came first.
    pub(super) fn is_complete(&self, to: i64) -> bool {
        self.starts > 0 && self.open.as_ref().is_none_or(|open| open.lanes.is_empty() && to >= open.until)
    }

    /// Whether it is worth a look when nothing comes. The start of this very owner alone is not.
    pub(super) fn is_wanted(&self) -> bool {
        self.starts > 1 || (self.starts > 0 && !self.suspects.is_empty())
    }
}

/// The position below which batches are small, where earlier owners have died.
pub(super) fn careful_until(assigned: &Assigned) -> Option<i64> {
    let records = i64::try_from(super::BATCH_RECORDS).unwrap_or(i64::MAX);
    (assigned.starts >= CAREFUL).then(|| assigned.next_offset.saturating_add(records))
}

impl Open {
    /// What may be under way, and the records before `until`.
    fn of(waiting: &Waiting, until: i64) -> Self {
        Self { lanes: waiting.that_may_run(), until }
    }

    /// Takes note of what is settled by now; true when nothing is left.
    fn is_settled(&mut self, waiting: &Waiting, position: i64) -> bool {
        self.lanes.retain(|(lane, last)| waiting.may_run(lane, *last));
        self.lanes.is_empty() && position >= self.until
    }
}

impl Owner {
    /// The store takes no data like this. The verdict is given to an event that was settled alone; where there were several,
    /// they run one at a time until the one is found. `to` is the position after the batch.
    ///
    /// The search ends when all of them have been settled, not after as many commits: a slow event commits more than once.
    pub(super) async fn data_refused(&mut self, message: String, events: &Events, to: i64) {
        if let Some(offset) = events.only() {
            warn!(partition = %self.partition.id, offset, error = %message, "the store refuses the data of an event; it becomes a dead letter");
            self.refused = Some(Refused { offset, message });
            self.reload().await;
        } else {
            let events = events.count();
            warn!(partition = %self.partition.id, events, error = %message, "the store refuses data of the batch; its events run one at a time to find the one");
            self.reload().await;
            if !self.is_deadly() {
                self.single = Some(Single::searching(Open::of(&self.waiting, to)));
            }
        }
    }

    /// Whether the refused event can be dead-lettered now: it is the first of its key, or its record may be taken.
    pub(super) fn can_reject(&self) -> bool {
        self.stopped.is_none()
            && self
                .refused
                .as_ref()
                .is_some_and(|refused| self.takes_records() || self.waiting.lane_of_first(refused.offset).is_some())
    }

    /// Dead-letters the event whose data the store has refused. The verdict is kept until that is committed.
    pub(super) async fn reject_refused(&mut self) {
        let Some(Refused { offset, message }) = &self.refused else { return };
        let offset = *offset;
        let blame = Blame { reason: Reason::Rejected, code: "store_refused".into(), message: message.clone() };
        if let Some(lane) = self.waiting.lane_of_first(offset) {
            return self.condemn(lane, |_| blame).await;
        }
        let mut plan = Plan::default();
        let taken = self.next_records(1, &mut plan.records);
        let next = plan.records.first().and_then(|(records, index)| records.get(*index)).map(|record| record.offset);
        if next == Some(offset) {
            return self.force(plan, &blame, taken).await;
        }
        // It is not where it was: another owner has settled it, or it comes again and is refused again.
        self.refused = None;
    }

    fn is_deadly(&self) -> bool {
        self.single.as_ref().is_some_and(|single| single.deadly)
    }

    /// Whether events may be begun, as far as other partitions of the process are concerned.
    pub(super) fn may_begin(&self) -> bool {
        match &self.turn {
            Some(turn) => turn.has_come(),
            // Who wants to be alone is to ask for it.
            None => self.is_deadly() || self.partition.engine.turns.is_open(),
        }
    }

    /// Asks for a turn where it has none; true when events may be begun.
    pub(super) fn take_turn(&mut self) -> bool {
        if self.turn.is_none() {
            let turns = &self.partition.engine.turns;
            self.turn = if self.is_deadly() { Some(turns.queue()) } else { turns.share() };
        }
        self.turn.as_ref().is_some_and(Turn::has_come)
    }

    /// Gives the turn back when nothing is under way any more. Before that the store knows that no event runs alone: else a
    /// neighbour that kills the process would be the death of the event that has waited here.
    pub(super) async fn end_turn(&mut self) {
        let waits = self.is_deadly() && self.turn.as_ref().is_some_and(|turn| !turn.has_come());
        if waits || !self.running.is_empty() || !self.finished.is_empty() || self.read_again.is_some() {
            return;
        }
        if let Some(single) = &mut self.single
            && single.noted.is_some()
        {
            let store = &self.partition.engine.store;
            match store.runs_alone(&self.partition.id, self.assignment.load(Ordering::Relaxed), None).await {
                Ok(_) => single.noted = None,
                Err(error) => return self.store_failed(&error),
            }
        }
        self.turn = None;
    }

    /// Whether nothing is to be begun now: another partition has the turn, or an event runs that may kill the process.
    pub(super) fn waits_for_one(&self) -> bool {
        !self.may_begin() || (self.is_deadly() && !self.running.is_empty())
    }

    /// Why the one event of the plan must not run again, where it must not. A suspect is noted first.
    pub(super) async fn blame(&mut self, plan: &Plan) -> Result<Option<Blame>, StoreError> {
        let Some(single) = &mut self.single else { return Ok(None) };
        // An attempt that has ended has not killed anybody.
        if !single.deadly || !plan.finished.is_empty() {
            return Ok(None);
        }
        let due = plan.due.first().and_then(|lane| self.waiting.lane(lane).next()).map(|waiter| waiter.row.offset);
        let come = plan.records.first().and_then(|(records, index)| records.get(*index)).map(|record| record.offset);
        let Some(offset) = due.or(come) else { return Ok(None) };
        let assignment = self.assignment.load(Ordering::Relaxed);
        let deaths = self.partition.engine.store.runs_alone(&self.partition.id, assignment, Some(offset)).await?;
        single.noted = Some(offset);
        self.proof.suspects.insert(offset);
        if deaths < CHANCES {
            return Ok(None);
        }
        let message = format!("the process has ended {CHANCES} times while this event ran alone");
        Ok(Some(Blame { reason: Reason::Panic, code: "killed_process".into(), message }))
    }

    /// Suspects that these effects clear: their attempt has ended, or they are no longer there.
    pub(super) fn cleared(&self, effects: &Effects, to: i64) -> Vec<i64> {
        let may_kill = |offset: i64| match effects.waiting.get(&offset) {
            Some(row) => matches!(row.state, WaitingState::Running | WaitingState::Behind),
            None if effects.released.contains_key(&offset) => false,
            None => offset >= to || (offset < self.position && self.waiting.has(offset)),
        };
        self.proof.suspects.iter().copied().filter(|offset| !may_kill(*offset)).collect()
    }

    /// Looks whether the deaths of earlier owners still count, now that these changes are committed.
    pub(super) fn look_for_proof(&mut self, changes: &Changes) {
        if changes.proves {
            self.proof.starts = 0;
        }
        for offset in &changes.cleared {
            self.proof.suspects.remove(offset);
            if let Some(single) = &mut self.single {
                single.noted.take_if(|noted| noted == offset);
            }
        }
        if self.proof.open.as_mut().is_some_and(|open| open.is_settled(&self.waiting, self.position)) {
            self.proof.open = None;
            self.single.take_if(|single| single.deadly);
        }
    }

    /// Ends the search for a refused event when everything is settled that its batch may have had.
    pub(super) fn look_for_end_of_search(&mut self) {
        let (waiting, position) = (&self.waiting, self.position);
        self.single.take_if(|single| single.search.as_mut().is_some_and(|open| open.is_settled(waiting, position)));
    }

    /// Where nothing is left to do, nothing of what was under way is: the deaths of earlier owners count no more, and a
    /// service that was ended while it had nothing to do does not begin slowly.
    pub(super) async fn prove_when_idle(&mut self) {
        let intake = self.partition.engine.consumer.intake(&self.partition.id);
        let is_idle = self.proof.is_wanted()
            && self.takes_records()
            && self.backlog.is_empty()
            && self.running.is_empty()
            && intake.is_some_and(|intake| intake.lag(self.position) == 0);
        let (waiting, position) = (&self.waiting, self.position);
        let open = &mut self.proof.open;
        // The log ends here, so no record is left that was under way.
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
                self.single.take_if(|single| single.deadly);
            }
            Ok(Committed::Fenced) => self.fenced().await,
            Ok(Committed::Conflict) => self.conflicted(1),
            Ok(Committed::Refused(message)) => self.store_failed(&StoreError::Refused(message)),
            Err(error) => self.store_failed(&error),
        }
    }
}
