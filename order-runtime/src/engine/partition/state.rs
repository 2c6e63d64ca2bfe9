//! The state of a partition: whether it takes records, why it is stopped, and the status that operators see.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;
use tracing::{error, info};

use super::Owner;
use crate::engine::observe::PartitionState;

/// Why a partition is stopped until an operator acts.
#[derive(Debug)]
pub(super) struct Stopped {
    reason: String,
    /// Whether a waiting event stopped the partition. It then continues when no such event is left.
    by_event: bool,
}

impl Owner {
    /// Whether new records may be taken now.
    pub(super) fn takes_records(&self) -> bool {
        let engine = &self.partition.engine;
        self.stopped.is_none()
            && self.outdated.is_none()
            && self.jump.is_none()
            && !self.waits_for_one()
            && !engine.status.paused.load(Ordering::Relaxed)
            && !engine.outbox.full()
            && self.waiting.full().is_none()
    }

    pub(super) fn time_to_next_due(&self) -> Option<Duration> {
        if self.stopped.is_some() || self.outdated.is_some() || self.waits_for_one() {
            return None;
        }
        Some(self.waiting.next_due()?.saturating_duration_since(Instant::now()))
    }

    /// Stops the partition until an operator resumes it.
    pub(super) fn stop(&mut self, reason: &str) {
        self.stop_for(reason.to_owned(), false);
    }

    fn stop_for(&mut self, reason: String, by_event: bool) {
        error!(partition = %self.partition.id, reason, "the partition stops");
        self.stopped = Some(Stopped { reason, by_event });
        self.partition.engine.consumer.pause(&self.partition.id);
        self.show_state();
    }

    /// Resumes consumption on an operator's request, and retries the events that stopped the partition.
    pub(super) fn resume(&mut self) {
        self.release_stopped();
        self.start_again();
    }

    /// Continues a stopped partition. A partition that an operator has paused stays paused.
    fn start_again(&mut self) {
        if self.stopped.take().is_some() {
            info!(partition = %self.partition.id, "the partition is resumed");
        }
        let engine = &self.partition.engine;
        if !engine.status.paused.load(Ordering::Relaxed) {
            engine.consumer.resume(&self.partition.id);
        }
        self.show_state();
    }

    /// Updates the status of the partition, stops it if a waiting event requires that, and continues it if no
    /// event requires it any more.
    pub(super) fn after_change(&mut self) {
        let status = &self.partition.status;
        status.position.store(self.position, Ordering::Relaxed);
        status.waiting_keys.store(self.waiting.queues(), Ordering::Relaxed);
        status.waiting_events.store(self.waiting.events(), Ordering::Relaxed);
        *status.waiting_since.lock() = self.waiting.oldest();
        let stopping = self.waiting.stopped_by(|offset| self.releases.contains(offset)).filter(|_| !self.is_orphaned);
        match (&self.stopped, stopping) {
            (None, Some(row)) => {
                let reason = format!(
                    "the event at offset {} stopped the partition: {} ({}); resume to try it again",
                    row.offset, row.error_message, row.error_code
                );
                self.stop_for(reason, true);
            }
            (Some(stopped), None) if stopped.by_event => self.start_again(),
            _ => self.show_state(),
        }
    }

    /// The reason text while events are handled again because the store was restored from an older copy.
    fn restored(&self) -> Option<String> {
        let below = self.partition.status.restored_below.filter(|below| self.position < *below)?;
        Some(format!("the store was restored from an older copy: events before offset {below} are handled again"))
    }

    pub(super) fn show_state(&self) {
        let engine = &self.partition.engine;
        let (state, reason) = if let Some(stopped) = &self.stopped {
            (PartitionState::Stopped, Some(stopped.reason.clone()))
        } else if engine.status.paused.load(Ordering::Relaxed) {
            (PartitionState::Paused, Some("an operator has paused consumption".to_owned()))
        } else if self.failures > 0 {
            return;
        } else if engine.outbox.full() {
            (PartitionState::Full, Some("the outbox is full: too many records wait to be published".to_owned()))
        } else if let Some(full) = self.waiting.full() {
            (PartitionState::Full, Some(full))
        } else if let Some(jump) = self.jump.filter(|_| !self.can_jump()) {
            let reason = format!(
                "the log ends at {}, and waiting events have offsets from there on; the partition continues when they are settled or released",
                jump.at
            );
            (PartitionState::Full, Some(reason))
        } else if !self.may_begin() {
            let reason =
                "another partition runs an event alone to find a poison event; this partition continues afterwards";
            (PartitionState::Full, Some(reason.to_owned()))
        } else {
            (PartitionState::Running, self.restored())
        };
        self.partition.status.set(state, reason, engine.clock.now());
    }
}
