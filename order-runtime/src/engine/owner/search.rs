//! The search for an event that its partition cannot get past: one whose data the store refuses, or one that kills the
//! process.

use tracing::warn;

use super::{BATCH_RECORDS, Owner};
use crate::{
    broker::PartitionId,
    engine::{batch::Plan, dead_letter::Reason},
    store::{Assigned, Changes, Committed, StoreError},
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
    /// Owners have died here: each event is noted in the store before it runs.
    deadly: bool,
    /// The event that was noted last: one that runs again because the store did not answer has not killed this owner.
    suspect: Option<i64>,
    /// The word of the store, once an event that ran alone was refused: it is dead-lettered next.
    refused: Option<String>,
}

/// Why an event is dead-lettered that no processor has rejected.
#[derive(Debug)]
pub(in crate::engine) struct Blame {
    pub(in crate::engine) reason: Reason,
    pub(in crate::engine) code: &'static str,
    pub(in crate::engine) message: String,
}

impl Single {
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
        Some(Self { left: BATCH_RECORDS + assigned.waiting.len(), deadly: true, suspect: None, refused: None })
    }
}

impl Owner {
    /// The store takes no data like this: run one event at a time until the one is found, then dead-letter it.
    pub(super) async fn data_refused(&mut self, message: String, events: usize) {
        let alone = events == 1;
        warn!(partition = %self.partition.id, error = %message, events, "the store refuses data of the batch; looking for the event");
        self.reload().await;
        let single =
            self.single.get_or_insert(Single { left: events.max(1), deadly: false, suspect: None, refused: None });
        single.refused = alone.then_some(message);
    }

    /// Why the one event of the plan must not run again, where it must not. A suspect is noted first.
    pub(super) async fn blame(&mut self, plan: &Plan) -> Result<Option<Blame>, StoreError> {
        let Some(single) = &mut self.single else { return Ok(None) };
        if let Some(message) = single.refused.take() {
            return Ok(Some(Blame { reason: Reason::Rejected, code: "store_refused", message }));
        }
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
        Ok(Some(Blame { reason: Reason::Panic, code: "killed_process", message }))
    }

    /// Notes that this owner has not died, where it has written nothing that would say so.
    pub(super) async fn end_cleanly(&mut self) {
        if self.has_committed {
            return;
        }
        let changes = Changes::of_position((*self.partition.id).clone(), self.revision, self.position, self.position);
        let committed = self.partition.engine.committer.commit(std::sync::Arc::new(changes)).await;
        if let Ok(Committed::Applied { revision }) = committed {
            self.revision = revision;
        }
    }
}
