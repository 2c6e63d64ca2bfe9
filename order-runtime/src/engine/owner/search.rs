//! Events that their partition cannot get past: one whose data the store refuses, and one that kills the process.

use std::{borrow::Cow, sync::Arc};

use tracing::warn;

use super::{BATCH_RECORDS, Owner};
use crate::{
    broker::PartitionId,
    engine::{batch::Plan, dead_letter::Reason, effects::Events},
    store::{Assigned, Changes, Committed, StoreError, WaitingRow},
};

/// Assignments without a commit between them after which an event is suspected of killing the process.
const DEADLY_STARTS: u32 = 3;
/// How often a suspect is run alone before it is dead-lettered.
const CHANCES: u32 = 3;

/// Events run one at a time.
#[derive(Debug)]
pub(super) struct Single {
    /// Events that are still to be run alone.
    pub(super) left: usize,
    /// Whether a record comes before a waiting event that is due.
    pub(super) records_next: bool,
    /// Owners have died here: each event is noted in the store before it runs.
    deadly: bool,
    /// The event that was noted last: one that runs again because the store did not answer has not killed this owner.
    suspect: Option<i64>,
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
    /// One at a time, until so many have been settled.
    fn searching(left: usize) -> Self {
        Self { left, records_next: false, deadly: false, suspect: None }
    }

    /// What an assignment demands.
    pub(super) fn after(partition: &PartitionId, assigned: &Assigned) -> Option<Self> {
        if assigned.starts < DEADLY_STARTS && assigned.suspect.is_none() {
            return None;
        }
        warn!(
            %partition,
            starts = assigned.starts,
            "owners of the partition have ended without finishing anything; its events run one at a time"
        );
        // As many as the batch may have had that the deadly one was in.
        Some(Self { deadly: true, ..Self::searching(BATCH_RECORDS + assigned.waiting.len()) })
    }
}

impl Owner {
    /// The store takes no data like this. The verdict is given to an event that was settled alone; where there were several,
    /// they run one at a time until the one is found.
    pub(super) async fn data_refused(&mut self, message: String, events: &Events) {
        if let Some(offset) = events.only() {
            warn!(partition = %self.partition.id, offset, error = %message, "the store refuses the data of an event; it becomes a dead letter");
            self.refused = Some(Refused { offset, message });
        } else {
            let events = events.count();
            warn!(partition = %self.partition.id, events, error = %message, "the store refuses data of the batch; its events run one at a time to find the one");
            self.single.get_or_insert_with(|| Single::searching(events));
        }
        self.reload().await;
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

    /// Why the one event of the plan must not run again, where it must not. A suspect is noted first.
    pub(super) async fn blame(&mut self, plan: &Plan) -> Result<Option<Blame>, StoreError> {
        let Some(single) = &mut self.single else { return Ok(None) };
        // An attempt that has ended has not killed anybody.
        if !single.deadly || !plan.finished.is_empty() {
            return Ok(None);
        }
        let due = plan.due.first().and_then(|lane| self.waiting.lane(lane).next()).map(|waiter| waiter.row.offset);
        let come = plan.records.first().and_then(|(records, index)| records.get(*index)).map(|record| record.offset);
        let Some(offset) = due.or(come).filter(|offset| single.suspect != Some(*offset)) else { return Ok(None) };
        let times = self.partition.engine.store.suspect(&self.partition.id, offset).await?;
        single.suspect = Some(offset);
        if times <= CHANCES {
            return Ok(None);
        }
        let message = format!("the process has ended {CHANCES} times while this event ran alone");
        Ok(Some(Blame { reason: Reason::Panic, code: "killed_process".into(), message }))
    }

    /// Notes that this owner has not died, where it has written nothing that would say so.
    pub(super) async fn end_cleanly(&mut self) {
        if self.has_committed {
            return;
        }
        let changes = Changes::of_position((*self.partition.id).clone(), self.revision, self.position, self.position);
        let committed = self.partition.engine.committer.commit(Arc::new(changes)).await;
        if let Ok(Committed::Applied { revision }) = committed {
            self.revision = revision;
        }
    }
}
