//! The view of the engine for HTTP, and its controls.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::{
    Operations, OrphanView, OutboxView, PartitionView, ProcessorCounters, StatsView, health, status::PartitionStatus,
};
use crate::{
    engine::{
        Engine,
        assignment::{coordinator::OwnersRequest, orphaned::GiveUp},
        partition::release::{KeySelection, Release},
    },
    model::Health,
};

/// The engine as HTTP sees and controls it.
pub(crate) struct View {
    pub(crate) engine: Arc<Engine>,
    pub(crate) owners: mpsc::UnboundedSender<OwnersRequest>,
    pub(crate) give_ups: mpsc::UnboundedSender<GiveUp>,
}

impl View {
    fn lag(&self, partition: &PartitionStatus) -> (Option<i64>, Option<u64>) {
        let inbox_status = self.engine.consumer.inbox_status(&partition.id);
        let position = partition.position.load(Ordering::Relaxed);
        (
            inbox_status.map(|inbox_status| inbox_status.log_end),
            inbox_status.map(|inbox_status| inbox_status.lag(position)),
        )
    }
}

#[async_trait]
impl Operations for View {
    fn stats(&self) -> StatsView {
        let lags: Option<Vec<u64>> =
            self.engine.status.partitions().iter().map(|partition| self.lag(partition).1).collect();
        self.engine.status.stats(lags.filter(|lags| !lags.is_empty()).map(|lags| lags.iter().sum()))
    }

    fn partitions(&self) -> Vec<PartitionView> {
        let view = |partition: &Arc<PartitionStatus>| {
            let (_, _, since) = partition.state();
            let (state, reason) = health::explain(&self.engine, partition);
            let (log_end, lag) = self.lag(partition);
            PartitionView {
                topic: partition.id.topic.to_string(),
                partition: partition.id.partition,
                state,
                reason,
                since,
                position: partition.position.load(Ordering::Relaxed),
                log_end,
                lag,
                waiting_keys: partition.waiting_keys.load(Ordering::Relaxed),
                waiting_events: partition.waiting_events.load(Ordering::Relaxed),
                waiting_since: *partition.waiting_since.lock(),
            }
        };
        self.engine.status.partitions().iter().map(view).collect()
    }

    fn processors(&self) -> Vec<ProcessorCounters> {
        self.engine.status.processors()
    }

    fn breakers(&self) -> Vec<bool> {
        self.engine.breakers.open()
    }

    fn outbox(&self) -> OutboxView {
        self.engine.outbox.view()
    }

    fn store_log_bytes(&self) -> Option<u64> {
        self.engine.store.log_bytes()
    }

    fn health(&self) -> Health {
        health::of(&self.engine)
    }

    fn paused(&self) -> bool {
        self.engine.status.paused.load(Ordering::Relaxed)
    }

    fn pause(&self) {
        self.engine.status.paused.store(true, Ordering::Relaxed);
        for partition in self.engine.status.partitions() {
            self.engine.consumer.pause(&partition.id);
        }
        let _ = self.owners.send(OwnersRequest::Pause);
    }

    async fn release(&self, which: KeySelection, how: Release) -> usize {
        let (found, mut answers) = mpsc::unbounded_channel();
        // The channel closes when every partition owner has answered or ended.
        let _ = self.owners.send(OwnersRequest::Release { which: Arc::new(which), how, found });
        let mut released = 0;
        while let Some(more) = answers.recv().await {
            released += more;
        }
        released
    }

    fn orphans(&self) -> Vec<OrphanView> {
        self.engine.orphans.found()
    }

    async fn give_up(&self, which: KeySelection) -> Result<u64, String> {
        let (answer, answered) = oneshot::channel();
        // A stopped engine drops the request and its answer channel.
        let _ = self.give_ups.send(GiveUp { which, answer });
        answered.await.unwrap_or_else(|_| Err("the engine has ended".to_owned()))
    }

    fn resume(&self) {
        self.engine.status.paused.store(false, Ordering::Relaxed);
        // Each partition owner resumes its own partition. A partition without an owner has no position to resume from.
        let _ = self.owners.send(OwnersRequest::Resume);
    }
}
