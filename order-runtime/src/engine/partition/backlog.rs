//! Records that were taken and are not committed, and what of them and of waiting events comes into the next batch.

use std::sync::Arc;

use super::{BATCH_RECORDS, Owner};
use crate::{engine::batch::Plan, model::RecordBatch};

/// The most bytes that are taken from the consumer at once.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// What a batch was made of, as far as its commit needs it.
pub(super) struct Taken {
    /// Records of the backlog that it has used up.
    pub(super) records: usize,
    /// The position after it.
    pub(super) to: i64,
    /// When those above the position were written, in milliseconds of the Unix epoch.
    pub(super) written: Vec<i64>,
}

impl Taken {
    /// Nothing of the backlog.
    pub(super) fn nothing(position: i64) -> Self {
        Self { records: 0, to: position, written: Vec::new() }
    }
}

impl Owner {
    /// Takes records from the consumer when none are left.
    pub(super) fn fill_backlog(&mut self) {
        if !self.backlog.is_empty() {
            return;
        }
        if !self.takes_records() {
            // What keeps it from taking may have come just now, after it was told of the records: somebody tells but once.
            self.ready.notify_one();
            return;
        }
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH_RECORDS && bytes < BATCH_BYTES {
            let consumer = &self.partition.engine.consumer;
            let records = consumer.take(&self.partition.id, BATCH_RECORDS - count, BATCH_BYTES - bytes);
            if records.is_empty() {
                // Of what comes after this somebody tells.
                return;
            }
            count += records.len();
            bytes += records.size();
            self.backlog.push_back((Arc::new(records), 0));
        }
        // There may be more than was taken, of which nobody tells a second time: look again when this is done.
        self.ready.notify_one();
    }

    /// What the next batch takes up. Whether its events run alone is decided here once, since the owner of another partition may
    /// ask for a turn alone at any moment.
    pub(super) fn plan(&mut self) -> (Plan, Taken) {
        let finished = std::mem::take(&mut self.finished);
        let only_finished = self.stopped.is_some() || !self.may_begin();
        let alone = self.quarantine.is_some() || only_finished;
        let mut plan = Plan { finished, alone, ..Plan::default() };
        if self.quarantine.is_some() {
            return self.plan_one(plan);
        }
        if only_finished {
            // An attempt that has ended is settled; nothing else is tried.
            return (plan, Taken::nothing(self.position));
        }
        plan.due = self.waiting.due();
        plan.due.truncate(self.limit);
        let taken = self.next_records(self.limit, &mut plan.records);
        (plan, taken)
    }

    /// A single event: an attempt that has ended, or by turns a waiting event that is due and the next record, so that
    /// neither keeps the other back for ever.
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

    /// The next records of the backlog, at most `limit`, as far as records may be taken.
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
                // A record below the position has its outcome; this one came again after a seek.
                if record.offset >= self.position {
                    taken.to = record.offset + 1;
                    taken.written.extend(record.timestamp);
                    records.push((Arc::clone(batch), index));
                }
            }
        }
        taken
    }

    /// Drops records that have their outcome.
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
