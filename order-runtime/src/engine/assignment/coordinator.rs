//! The coordinator: starts the engine, spawns an owner for each assigned partition, and ends the owners of
//! revoked partitions in order.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::Instant,
};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    ended,
    orphaned::{self, GiveUp},
    start::{Circumstances, Decision, decide},
};
use crate::{
    broker::{ClusterMetadata, Consumer, ConsumerEvent, PartitionOffer, Publisher, Start},
    engine::{
        Clock, Engine, Settings,
        batch::context::PartitionContext,
        observe::{
            Operations, PartitionState,
            status::{PartitionStatus, Status},
            view::View,
        },
        outbox::{self, OutboxState},
        partition::{
            Control, Owner,
            committer::Committer,
            release::{KeySelection, Release},
        },
        retention,
        retry::breaker::Breakers,
    },
    model::PartitionId,
    registry::Registry,
    store::{Assigned, EntityType, Store, StoreError},
    telemetry::metrics::Metrics,
    trace::Tracer,
};

/// The parts from which the engine is started.
pub(crate) struct Parts {
    /// The declared processors.
    pub(crate) registry: Arc<Registry>,
    /// The store, claimed for the group.
    pub(crate) store: Arc<dyn Store>,
    /// The store's id, as returned by [`Store::claim`]; it is committed beside Kafka's offsets.
    pub(crate) store_id: Uuid,
    /// The group member.
    pub(crate) consumer: Arc<dyn Consumer>,
    /// Looks up which topics exist. Without it, orphaned partitions are neither found nor handled.
    pub(crate) metadata: Option<Arc<dyn ClusterMetadata>>,
    /// The events of the group member.
    pub(crate) events: mpsc::UnboundedReceiver<ConsumerEvent>,
    /// The publisher of dead letters and emitted events.
    pub(crate) publisher: Arc<dyn Publisher>,
    /// The domain's entities. Their ids are expected as Kafka keys.
    pub(crate) entities: Vec<EntityType>,
    /// The configuration.
    pub(crate) settings: Settings,
    /// The source of time and random numbers.
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    /// `None` if traces are not exported.
    pub(crate) tracer: Option<Arc<Tracer>>,
}

/// The reason why the engine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineEnd {
    /// The consumer has left the group, and all partitions are drained.
    Drained,
    /// The engine cannot continue; the text says why.
    Fatal(String),
}

/// A handle to the running engine.
pub(crate) struct EngineHandle {
    pub(crate) engine: Arc<Engine>,
    owners: mpsc::UnboundedSender<OwnersRequest>,
    give_ups: mpsc::UnboundedSender<GiveUp>,
    coordinator: JoinHandle<EngineEnd>,
    relay: JoinHandle<()>,
    retention: JoinHandle<()>,
    orphaned: Option<JoinHandle<()>>,
}

/// A request of an operator to all owners.
#[derive(Debug, Clone)]
pub(crate) enum OwnersRequest {
    Pause,
    Resume,
    Release { which: Arc<KeySelection>, how: Release, found: mpsc::UnboundedSender<usize> },
}

/// Starts the engine on the current tokio runtime.
pub(crate) fn start(parts: Parts) -> EngineHandle {
    let Parts {
        registry,
        store,
        store_id,
        consumer,
        metadata,
        events,
        publisher,
        entities,
        settings,
        clock,
        metrics,
        tracer,
    } = parts;
    let outbox = Arc::new(OutboxState::default());
    let status = Arc::new(Status::new(registry.processors().len(), Arc::clone(&outbox)));
    let relay = tokio::spawn(outbox::relay(Arc::clone(&store), publisher, Arc::clone(&outbox)));
    let retention = tokio::spawn(retention::forget(Arc::clone(&store), Arc::clone(&clock), settings.retention));
    let remembers = store.durable() || !entities.is_empty();
    let engine = Arc::new(Engine {
        breakers: Breakers::new(registry.processors()),
        turns: Arc::default(),
        orphans: orphaned::OrphanState::default(),
        registry,
        committer: Committer::start(Arc::clone(&store), Arc::clone(&metrics)),
        store,
        store_id: store_id.to_string(),
        consumer,
        outbox,
        status,
        remembers,
        entities,
        settings,
        clock,
        metrics,
        tracer,
    });
    let (owners, requests) = mpsc::unbounded_channel();
    let (give_ups, asked) = mpsc::unbounded_channel();
    let orphaned = metadata.clone().map(|metadata| tokio::spawn(orphaned::watch(Arc::clone(&engine), metadata, asked)));
    let coordinator = Coordinator { engine: Arc::clone(&engine), metadata, store_id, owners: HashMap::new() };
    let coordinator = tokio::spawn(coordinator.run(events, requests));
    EngineHandle { engine, owners, give_ups, coordinator, relay, retention, orphaned }
}

impl EngineHandle {
    /// A view of the engine that can also steer it, for HTTP.
    pub(crate) fn operations(&self) -> Arc<dyn Operations> {
        Arc::new(View {
            engine: Arc::clone(&self.engine),
            owners: self.owners.clone(),
            give_ups: self.give_ups.clone(),
        })
    }

    /// Returns when the engine has ended: the consumer has left the group or cannot continue, or the store is lost.
    pub(crate) async fn ended(&mut self) -> EngineEnd {
        tokio::select! {
            ended = &mut self.coordinator => {
                ended.unwrap_or_else(|error| EngineEnd::Fatal(format!("the coordinator failed: {error}")))
            }
            reason = self.engine.store.lost() => {
                // Partition owners cannot commit any more, so they are not awaited.
                self.coordinator.abort();
                EngineEnd::Fatal(reason)
            }
        }
    }

    /// Leaves the group: partitions are drained and offsets stored. [`ended`](Self::ended) returns when that is done.
    pub(crate) fn leave(&self) {
        self.engine.status.stopping.store(true, Ordering::Relaxed);
        self.engine.consumer.close();
    }

    /// Waits until the outbox is published or the relay reports a problem, at most for `limit`. Then ends the
    /// background tasks. The rest of the outbox is published at the next start.
    pub(crate) async fn publish_rest(self, limit: Duration) {
        let published = async {
            while !self.engine.outbox.is_empty() && self.engine.outbox.trouble().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(limit, published).await.is_err() {
            warn!("the outbox is not empty; the rest is published at the next start");
        }
        self.relay.abort();
        self.retention.abort();
        if let Some(orphaned) = self.orphaned {
            orphaned.abort();
        }
    }
}

struct Coordinator {
    engine: Arc<Engine>,
    metadata: Option<Arc<dyn ClusterMetadata>>,
    store_id: Uuid,
    owners: HashMap<PartitionId, OwnerHandle>,
}

/// The task of a partition owner and the channel to it.
struct OwnerHandle {
    controls: mpsc::UnboundedSender<Control>,
    task: JoinHandle<()>,
    /// The number of the assignment, under which its end is noted in the store.
    assignment: Arc<AtomicI64>,
}

impl Coordinator {
    async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<ConsumerEvent>,
        mut requests: mpsc::UnboundedReceiver<OwnersRequest>,
    ) -> EngineEnd {
        loop {
            let event = tokio::select! {
                biased;
                event = events.recv() => event,
                Some(request) = requests.recv() => {
                    for owner in self.owners.values() {
                        let control = match request.clone() {
                            OwnersRequest::Pause => Control::Pause,
                            OwnersRequest::Resume => Control::Resume,
                            OwnersRequest::Release { which, how, found } => Control::Release { which, how, found },
                        };
                        // An owner that has ended needs no request.
                        let _ = owner.controls.send(control);
                    }
                    continue;
                }
            };
            match event {
                None => return EngineEnd::Drained,
                Some(ConsumerEvent::Assigned { partitions, answer }) => {
                    *self.engine.status.beginning.lock() = Some((None, Instant::now()));
                    let starts = self.assign(partitions).await;
                    *self.engine.status.beginning.lock() = None;
                    // A consumer that no longer waits for the answer will assign again.
                    let _ = answer.send(starts);
                    self.engine.status.assigned.store(true, Ordering::Relaxed);
                }
                Some(ConsumerEvent::Revoked { partitions, lost, answer }) => {
                    self.revoke(&partitions, lost).await;
                    let _ = answer.send(());
                }
                Some(ConsumerEvent::OutOfRange { partition, log_start, log_end }) => {
                    if let Some(owner) = self.owners.get(&partition) {
                        let _ = owner.controls.send(Control::OutOfRange { log_start, log_end });
                    }
                }
                Some(ConsumerEvent::Fatal(reason)) => {
                    let all: Vec<_> = self.owners.keys().cloned().collect();
                    self.revoke(&all, true).await;
                    return EngineEnd::Fatal(reason);
                }
            }
        }
    }

    async fn assign(&mut self, partitions: Vec<PartitionOffer>) -> Vec<Start> {
        self.engine.metrics.assigned(partitions.len());
        let ids: Vec<_> = partitions.iter().map(|offer| offer.id.clone()).collect();
        let known = loop {
            match self.engine.store.assigned(&ids).await {
                Ok(known) => break known,
                Err(error) => self.store_away(&error).await,
            }
        };
        // Checked before the first partition begins, because its position makes the topic known.
        let mut topics_known = Vec::with_capacity(ids.len());
        for id in &ids {
            topics_known.push(self.knows_topic(id).await);
        }
        let mut starts = Vec::with_capacity(partitions.len());
        for ((offer, stored), topic_known) in partitions.into_iter().zip(known).zip(topics_known) {
            starts.push(self.begin_owner(offer, stored, topic_known).await);
        }
        self.engine.orphans.look();
        starts
    }

    async fn knows_topic(&self, id: &PartitionId) -> bool {
        loop {
            match self.engine.store.knows_topic(id).await {
                Ok(known) => return known,
                Err(error) => self.store_away(&error).await,
            }
        }
    }

    /// Starts one assigned partition, or leaves it paused with the reason in its status. Returns where the consumer begins.
    async fn begin_owner(&mut self, mut offer: PartitionOffer, stored: Option<Assigned>, topic_known: bool) -> Start {
        if let Some(position) = stored.as_ref().map(|stored| stored.next_offset)
            && position > offer.log_end
        {
            offer.log_end = self.log_end_now(&offer, position).await;
        }
        let settings = &self.engine.settings;
        let circumstances = Circumstances {
            stored: stored.as_ref().map(|stored| stored.next_offset),
            topic_known,
            store: self.engine.store.durable().then_some(self.store_id),
            reset: settings.reset,
            on_truncation: settings.on_truncation,
        };
        let now = self.engine.clock.now();
        let id = Arc::new(offer.id.clone());
        match decide(&offer, &circumstances) {
            Decision::Stop(reason) => {
                error!(partition = %id, reason, "the partition does not start");
                let position = circumstances.stored.unwrap_or(offer.log_start);
                if let Some(stored) = stored {
                    // The partition has no owner, so the end of this process must not count as the death of one.
                    ended::note(&self.engine.store, vec![(offer.id.clone(), stored.assignment)], Instant::now()).await;
                }
                let status = Arc::new(PartitionStatus::new(id, position, now));
                status.set(PartitionState::Stopped, Some(reason), now);
                self.engine.status.add_partition(status);
                Start::Paused
            }
            Decision::Begin { at, skipped, restored_below } => {
                if skipped > 0 {
                    self.engine.metrics.dropped(skipped);
                    error!(partition = %id, skipped, at, "the log has dropped records before they were handled; they are lost");
                }
                let assigned = match stored {
                    Some(stored) => stored,
                    None => loop {
                        match self.engine.store.begin(&offer.id, at).await {
                            Ok(begun) => break begun,
                            Err(error) => self.store_away(&error).await,
                        }
                    },
                };
                // Another group member may have written the first position meanwhile. That position is then used.
                let at = if circumstances.stored.is_none() { assigned.next_offset } else { at };
                if let Some(committed) = offer.committed
                    && committed != at
                    && circumstances.stored.is_some()
                {
                    info!(partition = %id, committed, position = at, "the group's committed offset differs from the position; the position is used");
                }
                if let Some(committed) = restored_below {
                    self.engine.metrics.restored(committed.abs_diff(at));
                    error!(
                        partition = %id, committed, position = at,
                        "the store was restored from an older copy; the events from the position to the committed offset are handled again"
                    );
                }
                self.spawn_owner(&id, assigned, at, offer.ready, restored_below);
                Start::At(at)
            }
        }
    }

    /// Asks for the current end of the log if the position lies beyond the end in the offer. A former owner may
    /// have handled further records after the offer was made and before the store fenced it. Without an answer
    /// this returns the position, and the consumer's first fetch reports whether the log has it.
    async fn log_end_now(&self, offer: &PartitionOffer, position: i64) -> i64 {
        // Without a metadata client, the consumer serves logs that do not change.
        let Some(metadata) = &self.metadata else { return offer.log_end };
        metadata.log_end(&offer.id).await.unwrap_or_else(|error| {
            warn!(partition = %offer.id, position, %error, "failed to read the end of the log; the first fetch checks the position");
            position
        })
    }

    fn spawn_owner(
        &mut self,
        id: &Arc<PartitionId>,
        assigned: Assigned,
        at: i64,
        ready: Arc<Notify>,
        restored_below: Option<i64>,
    ) {
        let mut status = PartitionStatus::new(Arc::clone(id), at, self.engine.clock.now());
        status.restored_below = restored_below;
        let status = Arc::new(status);
        self.engine.status.add_partition(Arc::clone(&status));
        let (controls, receiver) = mpsc::unbounded_channel();
        let partition = PartitionContext::new(Arc::clone(id), Arc::clone(&self.engine), status);
        info!(partition = %id, position = at, waiting = assigned.waiting.len(), "partition assigned");
        let owner = Owner::new(partition, assigned, receiver, ready);
        let assignment = owner.assignment();
        let handle = OwnerHandle { controls, task: tokio::spawn(owner.run(at)), assignment };
        if let Some(former) = self.owners.insert((**id).clone(), handle) {
            // The compare-and-set of the position fences commits that it has already sent.
            former.task.abort();
        }
    }

    /// Ends the owners of revoked partitions. All of them finish their current batch at the same time, within
    /// the drain limit. The owners of lost partitions are aborted instead.
    async fn revoke(&mut self, partitions: &[PartitionId], lost: bool) {
        self.engine.metrics.revoked(partitions.len(), lost);
        let mut leaving = Vec::new();
        let mut ended = Vec::new();
        for id in partitions {
            self.engine.status.remove_partition(id);
            let Some(owner) = self.owners.remove(id) else { continue };
            ended.push((id.clone(), owner.assignment));
            if lost {
                owner.task.abort();
                continue;
            }
            let _ = owner.controls.send(Control::Leave);
            leaving.push((id, owner.task));
        }
        let deadline = Instant::now() + self.engine.settings.drain;
        for (id, mut task) in leaving {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                warn!(partition = %id, "the current batch did not finish in time and is dropped; its events are handled again");
                task.abort();
            }
            info!(partition = %id, "partition released");
        }
        let limit = if lost { Instant::now() } else { deadline };
        // The numbers are read last, because an owner may have taken its partition over under a new number.
        let ended = ended.into_iter().map(|(id, assignment)| (id, assignment.load(Ordering::Relaxed))).collect();
        ended::note(&self.engine.store, ended, limit).await;
        // Partitions of a deleted topic are assigned to no other member.
        self.engine.orphans.look();
    }

    async fn store_away(&self, error: &StoreError) {
        warn!(%error, "the store does not answer; assigned partitions wait for it");
        if let Some((reason, _)) = &mut *self.engine.status.beginning.lock() {
            *reason = Some(error.to_string());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
