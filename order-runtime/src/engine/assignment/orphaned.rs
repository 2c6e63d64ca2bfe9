//! Orphaned partitions: they have waiting events in the store, and no assignment brings them to this instance.
//!
//! Only the cluster knows whether a topic still exists, so it is asked by the topic's id. If the topic was
//! deleted, or its embedded broker has ended, its waiting events become dead letters, in order. All other
//! causes may be temporary, such as a topic that is not configured here or a cluster that was configured by
//! mistake. Such events stay in the store and are shown, until they are handled or an operator gives them up.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use tracing::{error, info, warn};

use crate::{
    broker::{ClusterMetadata, ClusterTopics, TopicState, embedded},
    engine::{
        Engine,
        batch::context::PartitionContext,
        observe::{OrphanCause, OrphanView, status::PartitionStatus},
        partition::{ForcedDeadLetter, Owner, release::KeySelection},
    },
    model::{PartitionId, Reason, TopicPattern},
    store::StoreError,
};

/// The time between two looks for orphaned partitions. Assignments and operators' requests cause further looks.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// A topic counts as deleted when the cluster has reported so twice, at least this long apart. A broker with
/// outdated metadata has caught up by then.
const CONFIRM_AFTER: Duration = Duration::from_secs(10);

/// The orphaned partitions of the last look, and a way to request another look.
#[derive(Debug, Default)]
pub(crate) struct OrphanState {
    found: Mutex<Vec<OrphanView>>,
    look: Notify,
}

impl OrphanState {
    /// The orphaned partitions that the last look found.
    pub(crate) fn found(&self) -> Vec<OrphanView> {
        self.found.lock().clone()
    }

    /// Requests a look soon.
    pub(crate) fn look(&self) {
        self.look.notify_one();
    }

    /// One warning for each topic and cause of orphaned partitions with waiting events.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let found = self.found.lock();
        let mut topics: Vec<(&str, OrphanCause)> = found.iter().map(|orphan| (&*orphan.topic, orphan.cause)).collect();
        topics.sort_unstable();
        topics.dedup();
        let sentence = |(topic, cause): (&str, OrphanCause)| {
            let events: usize =
                found.iter().filter(|o| o.topic == topic && o.cause == cause).map(|o| o.waiting_events).sum();
            let noun = if events == 1 { "waiting event" } else { "waiting events" };
            format!("{events} {noun} of the topic {topic}: {}", cause.text())
        };
        topics.into_iter().map(sentence).collect()
    }
}

/// An operator's request to give up the waiting events of an orphaned topic.
pub(crate) struct GiveUp {
    pub(crate) which: KeySelection,
    /// Receives the number of events that became dead letters, or the reason why none or not all did.
    pub(crate) answer: oneshot::Sender<Result<u64, String>>,
}

/// Looks for orphaned partitions repeatedly and serves requests to give up their events, until it is dropped.
pub(super) async fn watch(
    engine: Arc<Engine>,
    metadata: Arc<dyn ClusterMetadata>,
    mut requests: mpsc::UnboundedReceiver<GiveUp>,
) {
    let mut watch = Watch { engine, metadata, confirming: HashMap::new(), is_troubled: false };
    loop {
        watch.round().await;
        let pause = if watch.confirming.is_empty() { LOOK_AGAIN } else { CONFIRM_AFTER };
        let engine = Arc::clone(&watch.engine);
        tokio::select! {
            Some(GiveUp { which, answer }) = requests.recv() => {
                // The operator may have stopped waiting for the answer.
                let _ = answer.send(watch.give_up(&which).await);
            }
            () = engine.orphans.look.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Watch {
    engine: Arc<Engine>,
    metadata: Arc<dyn ClusterMetadata>,
    /// Partitions whose topic was deleted according to the last answer, with the time of the first such answer.
    confirming: HashMap<PartitionId, Instant>,
    /// Whether the last look has failed.
    is_troubled: bool,
}

impl Watch {
    /// Looks for orphaned partitions and dead-letters the waiting events of topics that are confirmed as deleted.
    async fn round(&mut self) {
        let found = match self.look().await {
            Ok(found) => found,
            Err(error) => {
                if !self.is_troubled {
                    warn!(%error, "failed to look for orphaned partitions in the store; retrying");
                }
                self.is_troubled = true;
                return;
            }
        };
        self.is_troubled = false;
        let now = Instant::now();
        let confirming: Vec<PartitionId> =
            found.into_iter().filter(|orphan| orphan.cause.is_final()).map(|orphan| orphan.id).collect();
        self.confirming.retain(|id, _| confirming.contains(id));
        for id in confirming {
            let since = *self.confirming.entry(id.clone()).or_insert_with(|| {
                warn!(partition = %id, topic_id = %id.topic_id, "the topic of waiting events no longer exists; the cluster is asked again before they become dead letters");
                now
            });
            if now.duration_since(since) < CONFIRM_AFTER || self.engine.status.stopping.load(Ordering::Relaxed) {
                continue;
            }
            error!(
                partition = %id,
                topic_id = %id.topic_id,
                cluster = %id.cluster,
                "the topic of waiting events no longer exists; they become dead letters with the code `source_gone`"
            );
            match self.dead_letter(&id, Because::SourceGone).await {
                Ok(_) => {
                    self.confirming.remove(&id);
                }
                Err(error) => {
                    warn!(partition = %id, %error, "failed to dead-letter waiting events of a topic that no longer exists; retrying");
                }
            }
        }
    }

    /// Finds and remembers the orphaned partitions with waiting events.
    ///
    /// # Errors
    /// The store could not be read. A cluster that does not answer is no error: only the configuration decides then.
    async fn look(&self) -> Result<Vec<OrphanView>, StoreError> {
        let engine = &self.engine;
        let owned: HashSet<Arc<PartitionId>> =
            engine.status.partitions().iter().map(|partition| Arc::clone(&partition.id)).collect();
        // A topic of which this instance owns a partition exists, and is configured.
        let topics: HashSet<_> = owned.iter().map(|id| (&id.cluster, id.topic_id, &id.topic)).collect();
        let mut others: Vec<PartitionId> = engine.store.positions().await?.into_iter().map(|(id, _)| id).collect();
        others.retain(|id| !topics.contains(&(&id.cluster, id.topic_id, &id.topic)));
        let counts = engine.store.count_waiting(&others).await?;
        let waiting: Vec<_> = others.into_iter().zip(counts).filter(|(_, count)| count.events > 0).collect();
        let mut found = Vec::new();
        if !waiting.is_empty() {
            let names: BTreeSet<Arc<str>> = waiting.iter().map(|(id, _)| Arc::clone(&id.topic)).collect();
            // Without an answer, the configuration alone decides.
            let answer = self.metadata.topics(names).await.ok();
            found.extend(waiting.into_iter().filter_map(|(id, count)| {
                let cause = judge(&id, answer.as_ref(), &engine.settings.topics)?;
                Some(OrphanView {
                    topic: id.topic.to_string(),
                    partition: id.partition,
                    id,
                    cause,
                    waiting_keys: count.keys,
                    waiting_events: count.events,
                })
            }));
        }
        let former = std::mem::replace(&mut *engine.orphans.found.lock(), found.clone());
        let is_new = |orphan: &&OrphanView| !former.iter().any(|one| one.id == orphan.id && one.cause == orphan.cause);
        for OrphanView { id, cause, waiting_events, .. } in found.iter().filter(is_new) {
            warn!(partition = %id, cluster = %id.cluster, events = waiting_events, "an orphaned partition has waiting events: {}", cause.text());
        }
        Ok(found)
    }

    /// Dead-letters the waiting events of an orphaned topic on an operator's request, and returns their number.
    async fn give_up(&self, which: &KeySelection) -> Result<u64, String> {
        let topic = which.topic.as_deref().unwrap_or_default();
        let mut orphans = self.look().await.map_err(|error| error.to_string())?;
        orphans.retain(|orphan| which.takes_partition(&orphan.id));
        if orphans.is_empty() {
            return Err(format!(
                "the topic {topic} has no orphaned partition with waiting events; to release keys that an instance owns, give a key or `all`"
            ));
        }
        let readers = self.metadata.readers(topic).await.map_err(|error| {
            format!("failed to check whether another instance reads the topic {topic}: {error}; no event is given up")
        })?;
        if !readers.is_empty() && orphans.iter().any(|orphan| orphan.cause == OrphanCause::NotConfigured) {
            return Err(format!(
                "{} reads the topic {topic} and continues with its waiting events; release the keys there, or stop it first",
                readers.join(", ")
            ));
        }
        let mut given_up = 0;
        for OrphanView { id, .. } in orphans {
            warn!(partition = %id, cluster = %id.cluster, "an operator gives up the waiting events of an orphaned partition");
            match self.dead_letter(&id, Because::Operator).await {
                Ok(events) => given_up += events,
                Err(error) => {
                    return Err(format!("{given_up} events became dead letters; giving up {id} failed: {error}"));
                }
            }
        }
        self.engine.orphans.look();
        info!(topic, events = given_up, "events of an orphaned topic became dead letters");
        Ok(given_up)
    }

    /// Dead-letters all waiting events of a partition in order, and returns their number.
    async fn dead_letter(&self, id: &PartitionId, because: Because) -> Result<u64, String> {
        let engine = &self.engine;
        let stored = match engine.store.reload(id).await {
            Ok(Some(stored)) if !stored.waiting.is_empty() => stored,
            Ok(_) => return Ok(0),
            Err(error) => return Err(error.to_string()),
        };
        let status = Arc::new(PartitionStatus::new(Arc::new(id.clone()), stored.next_offset, engine.clock.now()));
        let partition = PartitionContext::new(Arc::new(id.clone()), Arc::clone(engine), status);
        // This owner only gives up the waiting events and ends. It receives neither requests nor records.
        let (_, controls) = mpsc::unbounded_channel();
        Owner::new(partition, stored, controls, Arc::new(Notify::new())).give_up(because).await
    }
}

/// The reason for giving up the waiting events of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Because {
    /// Its topic no longer exists.
    SourceGone,
    /// An operator has requested it.
    Operator,
}

impl Because {
    /// The reason, code and message of the dead letter.
    pub(crate) fn forced_dead_letter(self, row: &crate::store::WaitingRow) -> ForcedDeadLetter {
        match self {
            Self::SourceGone => ForcedDeadLetter {
                reason: Reason::Exhausted,
                code: "source_gone".into(),
                message: "the topic that the event came from no longer exists: it was deleted or recreated, or its embedded broker has ended"
                    .to_owned(),
            },
            Self::Operator => ForcedDeadLetter::as_it_failed(row),
        }
    }
}

/// Decides why a partition that this instance does not own is orphaned; `None` if another instance may own it.
/// Without an answer of the cluster, only the configuration decides.
fn judge(id: &PartitionId, answer: Option<&ClusterTopics>, configured: &[TopicPattern]) -> Option<OrphanCause> {
    let by_configuration = || {
        let is_configured = TopicPattern::any_matches(configured, &id.topic);
        (!is_configured).then_some(OrphanCause::NotConfigured)
    };
    let Some(answer) = answer else { return by_configuration() };
    if answer.cluster != id.cluster {
        // An embedded broker ends with its process. Any other cluster may still exist, with all its data.
        let has_ended = embedded::is_embedded(&id.cluster) && embedded::is_embedded(&answer.cluster);
        return Some(if has_ended { OrphanCause::BrokerEnded } else { OrphanCause::OtherCluster });
    }
    let has_id = !id.topic_id.is_nil();
    match answer.topics.get(&id.topic) {
        Some(TopicState::Exists { id: now, .. }) if has_id && !now.is_nil() && *now != id.topic_id => {
            Some(OrphanCause::TopicDeleted)
        }
        Some(TopicState::Absent) if has_id => Some(OrphanCause::TopicDeleted),
        Some(TopicState::Exists { .. } | TopicState::Absent | TopicState::Unknown(_)) | None => by_configuration(),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::engine::assignment::orphaned::*;

    const EMBEDDED: &str = "embedded-5e6a3f0e-55d7-4d0e-9c52-2f4d5f0b7c11";
    const LATER_EMBEDDED: &str = "embedded-0b0d3c1c-6f0c-4a36-9d0f-3a9a4a8a2d55";

    fn id(cluster: &str, topic: &str, topic_id: u128) -> PartitionId {
        PartitionId { cluster: cluster.into(), topic: topic.into(), topic_id: Uuid::from_u128(topic_id), partition: 0 }
    }

    fn answer(cluster: &str, topic: &str, state: TopicState) -> ClusterTopics {
        ClusterTopics { cluster: cluster.into(), topics: [(topic.into(), state)].into() }
    }

    fn exists(id: u128) -> TopicState {
        TopicState::Exists { id: Uuid::from_u128(id), partitions: 4 }
    }

    /// The cause for partition 0 of the topic `things` with the id 1 on the cluster `now`, if `cluster` answers with `state`.
    fn cause(cluster: &str, state: TopicState) -> Option<OrphanCause> {
        let configured = [TopicPattern::named("things")];
        judge(&id("now", "things", 1), Some(&answer(cluster, "things", state)), &configured)
    }

    #[test]
    fn a_topic_counts_as_deleted_only_if_its_cluster_reports_that_by_its_id() {
        assert_eq!(cause("now", exists(1)), None, "the topic exists: another instance may own the partition");
        assert_eq!(cause("now", exists(7)), Some(OrphanCause::TopicDeleted), "recreated");
        assert_eq!(cause("now", TopicState::Absent), Some(OrphanCause::TopicDeleted), "deleted");
        assert_eq!(cause("now", TopicState::Unknown("denied".to_owned())), None, "unknown");
        assert_eq!(cause("now", exists(0)), None, "a broker without topic ids");
        for final_cause in [OrphanCause::TopicDeleted, OrphanCause::BrokerEnded] {
            assert!(final_cause.is_final());
        }
    }

    #[test]
    fn a_topic_that_is_not_configured_here_is_kept() {
        let other = id("now", "others", 3);
        let configured = ["things", "^eu-.*"].map(|text| TopicPattern::parse(text).expect("a topic"));
        let judged = |id: &PartitionId, answer: Option<&ClusterTopics>| judge(id, answer, &configured);
        assert_eq!(judged(&other, Some(&answer("now", "others", exists(3)))), Some(OrphanCause::NotConfigured));
        let denied = TopicState::Unknown("denied".to_owned());
        assert_eq!(judged(&other, Some(&answer("now", "others", denied))), Some(OrphanCause::NotConfigured));
        assert_eq!(judged(&other, None), Some(OrphanCause::NotConfigured), "the cluster does not answer");
        assert_eq!(judged(&id("now", "things", 1), None), None);
        assert_eq!(judged(&id("now", "eu-2", 9), Some(&answer("now", "eu-2", exists(9)))), None, "by a pattern");
        assert!(!OrphanCause::NotConfigured.is_final());
    }

    #[test]
    fn events_of_another_cluster_are_kept_unless_its_embedded_broker_has_ended() {
        assert_eq!(cause("elsewhere", TopicState::Absent), Some(OrphanCause::OtherCluster));
        assert_eq!(cause("elsewhere", exists(9)), Some(OrphanCause::OtherCluster));
        assert_eq!(cause(EMBEDDED, TopicState::Absent), Some(OrphanCause::OtherCluster), "the cluster still exists");
        assert!(!OrphanCause::OtherCluster.is_final());
        let former = id(EMBEDDED, "things", 0);
        let judged =
            |now: &str| judge(&former, Some(&answer(now, "things", exists(0))), &[TopicPattern::named("things")]);
        assert_eq!(judged(LATER_EMBEDDED), Some(OrphanCause::BrokerEnded));
        assert_eq!(judged(EMBEDDED), None);
        assert_eq!(judged("real"), Some(OrphanCause::OtherCluster), "a development store at a real cluster");
    }

    #[test]
    fn a_topic_without_an_id_never_counts_as_deleted() {
        let old = id("now", "things", 0);
        let configured = [TopicPattern::named("things")];
        assert_eq!(judge(&old, Some(&answer("now", "things", TopicState::Absent)), &configured), None);
        assert_eq!(judge(&old, Some(&answer("now", "things", exists(5))), &configured), None);
    }
}
