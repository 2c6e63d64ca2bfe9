//! Events that their partition cannot get past: one whose data the store refuses, one that kills the process, one that an
//! operator releases.

use std::{borrow::Cow, sync::Arc};

use tracing::warn;

use super::{BATCH_RECORDS, Owner, Taken};
use crate::{
    broker::PartitionId,
    engine::{
        batch::{Batch, Plan},
        dead_letter::Reason,
        release::{Release, Selection},
        waiting::Lane,
    },
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
    pub(in crate::engine) code: Cow<'static, str>,
    pub(in crate::engine) message: String,
}

impl Blame {
    /// What an operator gives up failed for the reason that it had failed for.
    pub(super) fn as_it_failed(row: &WaitingRow) -> Self {
        let code = if row.error_code.is_empty() { "released".to_owned() } else { row.error_code.clone() };
        Self { reason: Reason::Exhausted, code: code.into(), message: row.error_message.clone() }
    }
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
            return Ok(Some(Blame { reason: Reason::Rejected, code: "store_refused".into(), message }));
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
        Ok(Some(Blame { reason: Reason::Panic, code: "killed_process".into(), message }))
    }

    /// Releases the keys of the partition that are meant, and answers how many there are.
    pub(super) fn release(&mut self, which: &Selection, how: Release) -> usize {
        if !which.takes_partition(&self.partition.id) {
            return 0;
        }
        let lanes = self.waiting.select(|lane| which.takes_lane(lane));
        let found = lanes.len();
        match how {
            Release::Retry => lanes.iter().for_each(|lane| self.waiting.release(lane)),
            Release::DeadLetter => self.condemned = lanes,
        }
        if found > 0 {
            self.start_again();
        }
        found
    }

    /// Dead-letters the first event of a lane without running it.
    pub(super) async fn condemn(&mut self, lane: Lane, blame: impl FnOnce(&WaitingRow) -> Blame) {
        let Some(row) = self.waiting.lane(&lane).next().map(|waiter| Arc::clone(&waiter.row)) else { return };
        let blame = blame(&row);
        let plan = Plan { due: vec![lane], ..Plan::default() };
        let taken = Taken { records: 0, to: self.position, written: Vec::new() };
        match Batch::new(&self.partition, &self.waiting, &mut self.running, &self.ready).refuse(plan, &blame).await {
            Ok(effects) => self.commit(effects, taken, 1).await,
            Err(error) => self.store_failed(&error).await,
        }
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
