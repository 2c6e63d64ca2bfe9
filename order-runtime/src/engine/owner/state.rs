//! Whether a partition takes records, and what is shown of it.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;
use tracing::{error, info};

use super::Owner;
use crate::engine::observe::PartitionState;

impl Owner {
    /// Whether new records may be taken now.
    pub(super) fn takes_records(&self) -> bool {
        let engine = &self.partition.engine;
        self.stopped.is_none()
            && self.read_again.is_none()
            && !engine.status.paused.load(Ordering::Relaxed)
            && !engine.outbox.full()
            && self.waiting.full().is_none()
    }

    pub(super) fn time_to_next_due(&self) -> Option<Duration> {
        if self.stopped.is_some() || self.read_again.is_some() {
            return None;
        }
        Some(self.waiting.next_due()?.saturating_duration_since(Instant::now()))
    }

    pub(super) fn stop(&mut self, reason: &str) {
        error!(partition = %self.partition.id, reason, "the partition stops");
        self.stopped = Some(reason.to_owned());
        self.partition.engine.consumer.pause(&self.partition.id);
        self.show_state();
    }

    pub(super) fn resume(&mut self) {
        self.waiting.release_stopped();
        self.start_again();
    }

    /// Goes on with a partition that was stopped; an event that still stops it does so again.
    pub(super) fn start_again(&mut self) {
        if self.stopped.take().is_some() {
            info!(partition = %self.partition.id, "the partition is resumed");
        }
        self.partition.engine.consumer.resume(&self.partition.id);
        self.show_state();
    }

    /// Shows what is known of the partition, and stops it where an event demands that.
    pub(super) fn after_change(&mut self) {
        let status = &self.partition.status;
        status.position.store(self.position, Ordering::Relaxed);
        status.waiting_lanes.store(self.waiting.lanes(), Ordering::Relaxed);
        status.waiting_events.store(self.waiting.events(), Ordering::Relaxed);
        if self.stopped.is_none()
            && !self.gone
            && let Some(row) = self.waiting.stopped_by()
        {
            let reason = format!(
                "the event at offset {} stopped it: {} ({}); resume to try it again",
                row.offset, row.error_message, row.error_code
            );
            self.stop(&reason);
        }
        self.show_state();
    }

    pub(super) fn show_state(&self) {
        let engine = &self.partition.engine;
        let (state, reason) = if let Some(reason) = &self.stopped {
            (PartitionState::Stopped, Some(reason.clone()))
        } else if engine.status.paused.load(Ordering::Relaxed) {
            (PartitionState::Paused, Some("an operator has paused consumption".to_owned()))
        } else if self.failures > 0 {
            return;
        } else if engine.outbox.full() {
            (PartitionState::Full, Some("too many dead letters wait to be published".to_owned()))
        } else if let Some(full) = self.waiting.full() {
            (PartitionState::Full, Some(full))
        } else {
            (PartitionState::Running, None)
        };
        self.partition.status.set(state, reason, engine.clock.now());
    }
}
