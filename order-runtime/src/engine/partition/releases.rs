//! Releases of keys by an operator. Each release is kept until it is committed to the store.

use std::{collections::BTreeMap, sync::Arc};

use tracing::warn;

use super::{
    ForcedDeadLetter, Owner,
    backlog::Taken,
    release::{KeySelection, Release},
};
use crate::{
    engine::{
        batch::{Batch, Plan},
        retry::waiting::QueueId,
    },
    model::OnExhausted,
    store::{Changes, Committed, StoreError, WaitingRow, WaitingState},
};

/// Releases that are not committed yet, by the offset of the released event.
#[derive(Debug, Default)]
pub(super) struct Releases(BTreeMap<i64, (QueueId, Release)>);

impl Releases {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the event at that offset is released.
    pub(super) fn contains(&self, offset: i64) -> bool {
        self.0.contains_key(&offset)
    }

    /// Adds a release. A later release of the same event replaces an earlier one.
    fn add(&mut self, offset: i64, queue: QueueId, how: Release) {
        self.0.insert(offset, (queue, how));
    }

    /// Removes the releases of settled events.
    pub(super) fn forget(&mut self, is_settled: impl Fn(i64) -> bool) {
        self.0.retain(|offset, _| !is_settled(*offset));
    }
}

impl Owner {
    /// Releases the selected keys of the partition and returns their number.
    pub(super) fn release(&mut self, which: &KeySelection, how: Release) -> usize {
        if !which.takes_partition(&self.partition.id) {
            return 0;
        }
        let queues = self.waiting.select(|queue| which.takes_queue(queue));
        let found = queues.len();
        for queue in queues {
            self.add_release(queue, how);
        }
        // A partition that was stopped by a released key continues.
        self.after_change();
        found
    }

    /// Releases for retry the events that stop the partition.
    pub(super) fn release_stopped(&mut self) {
        let stops = |row: &WaitingRow| row.state == WaitingState::Held(OnExhausted::Stop);
        let queues = self.waiting.select(|_| true);
        let stopping =
            queues.into_iter().filter(|queue| self.waiting.queue(queue).next().is_some_and(|first| stops(&first.row)));
        for queue in stopping.collect::<Vec<_>>() {
            self.add_release(queue, Release::Retry);
        }
    }

    fn add_release(&mut self, queue: QueueId, how: Release) {
        let first = self.waiting.queue(&queue).next().map(|waiter| waiter.row.offset);
        if let Some(offset) = first {
            self.releases.add(offset, queue, how);
        }
    }

    /// Applies pending releases with one commit: all retries, or otherwise one dead letter.
    pub(super) async fn apply_release(&mut self) {
        let is_first = |offset: i64, queue: &QueueId| {
            let first = self.waiting.queue(queue).next();
            first.is_some_and(|first| first.row.offset == offset && first.row.state != WaitingState::Running)
        };
        // Releases of events that are already settled need nothing more.
        self.releases.0.retain(|offset, (queue, _)| is_first(*offset, queue));
        let to_retry: Vec<Arc<WaitingRow>> = self
            .releases
            .0
            .values()
            .filter(|(_, how)| *how == Release::Retry)
            .filter_map(|(queue, _)| self.waiting.queue(queue).next())
            .map(|first| Arc::clone(&first.row))
            .collect();
        if !to_retry.is_empty() {
            return self.retry_released(&to_retry).await;
        }
        let next = self.releases.0.values().next().map(|(queue, _)| queue.clone());
        if let Some(queue) = next {
            self.dead_letter_first(queue, ForcedDeadLetter::as_it_failed).await;
        }
    }

    /// Writes to the store that these events are due, so that the release outlasts this owner.
    async fn retry_released(&mut self, rows: &[Arc<WaitingRow>]) {
        let now = self.partition.engine.clock.now();
        let due = |row: &Arc<WaitingRow>| WaitingRow { state: WaitingState::Retry, due: now, ..(**row).clone() };
        let mut changes =
            Changes::of_position((*self.partition.id).clone(), self.revision, self.position, self.position);
        changes.waiting = rows.iter().map(due).collect();
        let changes = Arc::new(changes);
        match self.ask_to_commit(&changes).await {
            Ok(Committed::Applied { revision }) => {
                self.has_written(self.position, revision);
                for row in &changes.waiting {
                    self.releases.0.remove(&row.offset);
                    self.waiting.insert(row.clone(), now);
                }
                self.after_change();
            }
            Ok(Committed::Fenced) => self.fenced().await,
            Ok(Committed::Conflict) => self.conflicted(rows.len()),
            Ok(Committed::Refused(message)) => self.store_failed(&StoreError::Refused(message)),
            Err(error) => self.store_failed(&error),
        }
    }

    /// Applies the releases that were confirmed to operators before the owner ends.
    pub(super) async fn finish_releases(&mut self) {
        while !self.releases.is_empty() && self.outdated.is_none() {
            self.apply_release().await;
        }
        if !self.releases.is_empty() {
            let keys = self.releases.0.len();
            warn!(partition = %self.partition.id, keys, "releases of keys could not be committed, because the store does not answer or another instance owns the partition; release them again");
        }
    }

    /// Dead-letters the first event of a key queue without running it.
    pub(super) async fn dead_letter_first(
        &mut self,
        queue: QueueId,
        forced: impl FnOnce(&WaitingRow) -> ForcedDeadLetter,
    ) {
        let Some(row) = self.waiting.queue(&queue).next().map(|waiter| Arc::clone(&waiter.row)) else { return };
        let forced = forced(&row);
        let plan = Plan { due: vec![queue], ..Plan::default() };
        self.force(plan, &forced, Taken::nothing(self.position)).await;
    }

    /// Dead-letters the only event of a plan without running it.
    pub(super) async fn force(&mut self, plan: Plan, forced: &ForcedDeadLetter, taken: Taken) {
        match Batch::new(&self.partition, &self.waiting, &mut self.running, &self.ready).refuse(plan, forced).await {
            Ok(effects) => self.commit(effects, taken).await,
            Err(error) => self.store_failed(&error),
        }
    }
}
