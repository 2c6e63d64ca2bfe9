//! The commit of a batch: writes its effects to the store, then updates the state of the partition owner.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use super::{BATCH_RECORDS, Owner, backlog::Taken, quarantine::CAREFUL_RECORDS};
use crate::{
    engine::{batch::effects::Effects, observe::event_log, retry::waiting::QueueId},
    store::{Changes, Committed, StoreError},
};

impl Owner {
    /// Commits the effects of a batch.
    pub(super) async fn commit(&mut self, mut effects: Effects, taken: Taken) {
        let engine = Arc::clone(&self.partition.engine);
        self.finished.append(&mut effects.ended_meanwhile);
        if effects.is_empty() && taken.to == self.position {
            // All due events must wait longer, so there is nothing to commit.
            self.partition.unit.clear();
            self.forget_records(taken.records);
            self.postpone(&effects.postponed);
            return;
        }
        let unit = self.partition.unit.take_changes(&engine.entities);
        let changes = Changes {
            entities: unit.written.into_iter().map(|(entity, rows)| (entity, rows.into())).collect(),
            reads: unit.read.into_iter().map(|(entity, versions)| (entity, versions.into())).collect(),
            windows: effects.take_changed_windows(),
            waiting: effects.waiting.values().cloned().collect(),
            released: effects.released.keys().copied().collect(),
            outbox: std::mem::take(&mut effects.outbox),
            dead_letters: std::mem::take(&mut effects.dead_letters),
            proves: self.proof.is_complete(taken.to),
            cleared: self.cleared(&effects, taken.to),
            bytes: effects.bytes,
            ..Changes::of_position((*self.partition.id).clone(), self.revision, self.position, taken.to)
        };
        let changes = Arc::new(changes);
        match self.ask_to_commit(&changes).await {
            Ok(Committed::Applied { revision }) => self.applied(effects, &changes, &taken, revision).await,
            Ok(Committed::Fenced) => self.fenced().await,
            Ok(Committed::Conflict) => self.conflicted(effects.events.count()),
            // The changes are only a dead letter, and nothing less can be written for the event.
            Ok(Committed::Refused(message)) if effects.is_forced => self.store_failed(&StoreError::Refused(message)),
            Ok(Committed::Refused(message)) => self.data_refused(message, &effects.events, taken.to).await,
            Err(error) => self.store_failed(&error),
        }
    }

    /// Sends changes to the committer and waits for the answer, which counts as waiting for the store.
    pub(super) async fn ask_to_commit(&mut self, changes: &Arc<Changes>) -> Result<Committed, StoreError> {
        let answer = self.partition.engine.committer.commit(Arc::clone(changes));
        self.running.awaiting_store(&self.partition.status.progress, answer).await
    }

    pub(super) async fn fenced(&mut self) {
        warn!(partition = %self.partition.id, position = self.position, "another owner has changed the partition; its commits count, and this owner reads the partition again");
        self.reload().await;
    }

    /// Handles a conflict with another writer of the same rows: halves the next batch, and reads the partition
    /// again after a delay. The first delay is 0 ms, because most conflicts end at once. Later ones grow
    /// exponentially up to 1 s, to avoid a busy loop.
    pub(super) fn conflicted(&mut self, events: usize) {
        self.limit = (events / 2).max(1);
        self.conflicts += 1;
        self.read_again_in(Duration::from_millis((1 << self.conflicts.min(10)) - 2));
    }

    /// Notes an applied commit: earlier failures and conflicts no longer count.
    pub(super) fn has_written(&mut self, position: i64, revision: i64) {
        self.failures = 0;
        self.conflicts = 0;
        self.has_committed = true;
        self.position = position;
        self.revision = revision;
    }

    /// Updates the partition after the commit of a batch was applied.
    async fn applied(&mut self, effects: Effects, changes: &Changes, taken: &Taken, revision: i64) {
        self.has_written(taken.to, revision);
        self.careful_until.take_if(|until| self.position >= *until);
        self.limit = (self.limit * 2).min(if self.careful_until.is_some() { CAREFUL_RECORDS } else { BATCH_RECORDS });
        self.forget_records(taken.records);
        self.settled(changes);
        for (offset, queue) in &effects.released {
            self.waiting.remove(queue, *offset);
        }
        let now = self.partition.engine.clock.now();
        for row in effects.waiting.into_values() {
            self.waiting.insert(row, now);
        }
        self.look_for_proof(changes);
        self.look_for_end_of_search();
        self.postpone(&effects.postponed);
        let successes = effects.counters.processors.iter().map(|counters| counters.ok);
        self.partition.engine.breakers.observe(&effects.trials, successes);
        if self.partition.engine.settings.shadow {
            event_log::in_shadow(&self.partition.id, &effects.notables);
        } else {
            event_log::of_batch(&self.log_throttle, &self.partition.id, &effects.notables);
        }
        self.topic.batch(effects.counters.consumed, &effects.timing, now.as_millisecond(), &taken.written);
        self.partition.engine.metrics.settled(effects.counters.unplaced(), &effects.counters.letters);
        if let Some(tracer) = &self.partition.engine.tracer {
            tracer.export(effects.spans);
        }
        // The outbox is counted before the events: an observer that sees all events counted may take an empty
        // outbox as the end of the work.
        self.partition.engine.outbox.added(&changes.outbox);
        self.partition.engine.status.add(&effects.counters);
        self.after_change();
        self.let_kafka_follow().await;
    }

    /// Forgets the refused event and the releases that these changes have settled.
    fn settled(&mut self, changes: &Changes) {
        if self.refused.is_none() && self.releases.is_empty() {
            return;
        }
        let touches = |offset: i64| {
            (changes.from..changes.to).contains(&offset)
                || changes.released.contains(&offset)
                || changes.waiting.iter().any(|row| row.offset == offset)
        };
        self.refused.take_if(|refused| touches(refused.offset));
        self.releases.forget(touches);
    }

    /// Postpones key queues whose processors may not be tried yet.
    fn postpone(&mut self, queues: &[(QueueId, Duration)]) {
        for (queue, delay) in queues {
            self.waiting.postpone(queue, *delay);
        }
    }
}
