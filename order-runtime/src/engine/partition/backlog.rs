//! The backlog of taken, uncommitted records, and the choice of records and waiting events for the next batch.

use std::sync::Arc;

use super::{BATCH_RECORDS, Owner};
use crate::{engine::batch::Plan, model::RecordBatch};

/// The number of bytes after which no more records are taken from the consumer at once.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The part of the backlog that a batch has used, for its commit.
pub(super) struct Taken {
    /// The number of records that the batch used up.
    pub(super) records: usize,
    /// The position after the batch.
    pub(super) to: i64,
    /// The timestamps of the records from the position on, in milliseconds since the Unix epoch.
    pub(super) written: Vec<i64>,
}

impl Taken {
    /// A batch that uses no records.
    pub(super) fn nothing(position: i64) -> Self {
        Self { records: 0, to: position, written: Vec::new() }
    }
}

impl Owner {
    /// Takes records from the consumer if the backlog is empty.
    pub(super) fn fill_backlog(&mut self) {
        if !self.backlog.is_empty() {
            return;
        }
        if !self.takes_records() {
            // The reason for not taking records may have arisen after the notification of ready records, which
            // is sent only once. So the notification is renewed.
            self.ready.notify_one();
            return;
        }
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH_RECORDS && bytes < BATCH_BYTES {
            let consumer = &self.partition.engine.consumer;
            let records = consumer.take(&self.partition.id, BATCH_RECORDS - count, BATCH_BYTES - bytes);
            if records.is_empty() {
                // The consumer notifies of later records.
                return;
            }
            count += records.len();
            bytes += records.size();
            self.backlog.push_back((Arc::new(records), 0));
        }
        // More records may be ready, and the consumer does not notify of them a second time. So the owner
        // notifies itself to look again after this batch.
        self.ready.notify_one();
    }

    /// Plans the next batch. Whether its events run alone is decided here once, because the owner of another
    /// partition may ask for a turn alone at any moment.
    pub(super) fn plan(&mut self) -> (Plan, Taken) {
        let finished = std::mem::take(&mut self.finished);
        let only_finished = self.stopped.is_some() || !self.may_begin();
        let alone = self.quarantine.is_some() || only_finished;
        let mut plan = Plan { finished, alone, ..Plan::default() };
        if self.quarantine.is_some() {
            return self.plan_one(plan);
        }
        if only_finished {
            // Finished attempts are settled; no event is started.
            return (plan, Taken::nothing(self.position));
        }
        plan.due = self.waiting.due();
        plan.due.truncate(self.limit);
        let taken = self.next_records(self.limit, &mut plan.records);
        (plan, taken)
    }

    /// Plans a single event: a finished attempt if there is one. Otherwise due waiting events and new records alternate, so that
    /// neither starves the other.
    fn plan_one(&mut self, mut plan: Plan) -> (Plan, Taken) {
        self.finished = plan.finished.split_off(plan.finished.len().min(1));
        let nothing = Taken::nothing(self.position);
        if !plan.finished.is_empty() || self.stopped.is_some() {
            return (plan, nothing);
        }
        if self.waits_for_one() {
            return (plan, nothing);
        }
        let due = self.waiting.first_due();
        let Some(quarantine) = &mut self.quarantine else { return (plan, nothing) };
        quarantine.records_next = !quarantine.records_next;
        if let Some(queue) = due.clone().filter(|_| quarantine.records_next) {
            plan.due.push(queue);
            return (plan, nothing);
        }
        let taken = self.next_records(1, &mut plan.records);
        if let Some(queue) = due.filter(|_| plan.records.is_empty()) {
            plan.due.push(queue);
        }
        (plan, taken)
    }

    /// Adds the next records of the backlog to `records`, until it holds `limit`. Adds none if no records may be taken.
    pub(super) fn next_records(&self, limit: usize, records: &mut Vec<(Arc<RecordBatch>, usize)>) -> Taken {
        let mut taken = Taken::nothing(self.position);
        if !self.takes_records() {
            return taken;
        }
        for (batch, next) in &self.backlog {
            for index in *next..batch.len() {
                if records.len() == limit {
                    return taken;
                }
                let Some(record) = batch.get(index) else { break };
                taken.records += 1;
                // A record below the position has its outcome and was delivered again after a seek.
                if record.offset >= self.position {
                    taken.to = record.offset + 1;
                    taken.written.extend(record.timestamp);
                    records.push((Arc::clone(batch), index));
                }
            }
        }
        taken
    }

    /// Drops the first `count` records of the backlog, which have their outcome.
    pub(super) fn forget_records(&mut self, mut count: usize) {
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
}
