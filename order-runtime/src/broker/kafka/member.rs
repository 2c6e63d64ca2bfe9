//! The group member's rebalance callback, which librdkafka calls on the poll thread.
//!
//! The callback asks the engine where partitions begin, and waits until revoked partitions are drained and their offsets are
//! stored. All waits of one callback together stay below the poll interval. librdkafka sends the heartbeats meanwhile.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{debug, error, info, warn};

use super::{
    ffi,
    inbox::{Inbox, TakeSignal},
    log_throttle::KafkaLogThrottle,
    metadata::MetadataClient,
    settings::RebalanceLimits,
    statistics::{Group, Statistics},
};
use crate::{
    broker::{BrokerError, ConsumerEvent, PartitionOffer, Start},
    model::PartitionId,
};

/// The poll thread is expected to finish a round within this time.
const ROUND: Duration = Duration::from_secs(30);
/// A group usually reaches an assignment within this time. Until it does, this member handles nothing new.
const REBALANCED: Duration = Duration::from_mins(1);
/// librdkafka fetches unreadable records again, about once a second. Without such an error for this long, they count as readable.
const UNREADABLE_FOR: Duration = Duration::from_secs(15);
/// The health reason for records that librdkafka cannot read. It does not report their partition.
pub(super) const UNREADABLE: &str = "a partition is blocked by records that cannot be decompressed or are damaged; if they \
     decompress to more than 100 MB, raise KAFKA_CONSUMER_RECEIVE_MESSAGE_MAX_BYTES";

/// The state that the poll thread, the callback and the engine share.
pub(super) struct MemberShared {
    pub(super) inboxes: Mutex<HashMap<PartitionId, Arc<Inbox>>>,
    /// Offsets to be stored, the last of each partition.
    stored: Mutex<HashMap<PartitionId, (i64, String)>>,
    pub(super) taken: TakeSignal,
    pub(super) has_stored: AtomicBool,
    /// Incremented with every assignment, so that the poll thread rebuilds its view of the partitions.
    pub(super) assignments: AtomicU64,
    pub(super) closing: AtomicBool,
    /// Since when no broker has been connected, as far as known.
    away: Mutex<Option<Instant>>,
    /// The time until which the poll thread is expected to report, in milliseconds since `started`.
    expected: AtomicU64,
    started: Instant,
    /// Since when the member has been between two assignments.
    unsteady: Mutex<Option<Instant>>,
    /// Whether the engine was notified that this member has no partition.
    told_of_nothing: AtomicBool,
    /// A message about subscribed topics that do not exist.
    pub(super) missing: Mutex<Option<String>>,
    /// When an unreadable record was last met.
    unreadable: Mutex<Option<Instant>>,
    /// A message about a topic that may not be read, kept until records arrive.
    pub(super) forbidden: Mutex<Option<String>>,
    /// The reason why the member cannot join, kept until it is resolved.
    pub(super) trouble: Mutex<Option<String>>,
    /// A message about members of the group that are not instances of this service.
    pub(super) strangers: Mutex<Option<String>>,
    pub(super) log_throttle: KafkaLogThrottle,
}

impl MemberShared {
    pub(super) fn new() -> Arc<Self> {
        let shared = Self {
            inboxes: Mutex::default(),
            stored: Mutex::default(),
            taken: TakeSignal::default(),
            has_stored: AtomicBool::new(false),
            assignments: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            away: Mutex::default(),
            expected: AtomicU64::new(0),
            started: Instant::now(),
            unsteady: Mutex::default(),
            told_of_nothing: AtomicBool::new(false),
            missing: Mutex::new(None),
            unreadable: Mutex::new(None),
            forbidden: Mutex::new(None),
            trouble: Mutex::new(None),
            strangers: Mutex::new(None),
            log_throttle: KafkaLogThrottle::default(),
        };
        shared.expect_within(ROUND);
        Arc::new(shared)
    }

    /// Reports that the poll thread is alive.
    pub(super) fn beat(&self) {
        self.expect_within(ROUND);
    }

    fn expect_within(&self, time: Duration) {
        let until = self.started.elapsed() + time;
        self.expected.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the poll thread has been overdue.
    pub(super) fn overdue(&self) -> Option<Duration> {
        let expected = Duration::from_millis(self.expected.load(Ordering::Relaxed));
        self.started.elapsed().checked_sub(expected).filter(|overdue| !overdue.is_zero())
    }

    /// Notes an unreadable record; librdkafka tries again.
    pub(super) fn met_unreadable(&self) {
        *self.unreadable.lock() = Some(Instant::now());
    }

    /// Whether a partition is blocked by unreadable records.
    pub(super) fn unreadable(&self) -> bool {
        self.unreadable.lock().is_some_and(|met| met.elapsed() < UNREADABLE_FOR)
    }

    pub(super) fn connected(&self) -> bool {
        self.away.lock().is_none()
    }

    /// How long no broker has been connected.
    pub(super) fn away(&self) -> Option<Duration> {
        self.away.lock().map(|since| since.elapsed())
    }

    /// Notes whether a broker is connected. Returns whether that has changed.
    pub(super) fn note_connected(&self, connected: bool) -> bool {
        let since = (!connected).then(Instant::now);
        let mut away = self.away.lock();
        let is_new = away.is_none() != connected;
        if is_new {
            *away = since;
        }
        is_new
    }

    fn group_is(&self, steady: bool) {
        let mut unsteady = self.unsteady.lock();
        if steady {
            *unsteady = None;
        } else {
            unsteady.get_or_insert_with(Instant::now);
        }
    }

    /// How long the group has had no assignment, if that is unusually long.
    pub(super) fn rebalancing(&self) -> Option<Duration> {
        self.unsteady.lock().map(|since| since.elapsed()).filter(|time| *time > REBALANCED)
    }

    /// Whether this member has no partition.
    pub(super) fn has_nothing(&self) -> bool {
        self.inboxes.lock().is_empty()
    }

    pub(super) fn store(&self, partition: &PartitionId, offset: i64, metadata: &str) {
        self.stored.lock().insert(partition.clone(), (offset, metadata.to_owned()));
        self.has_stored.store(true, Ordering::Release);
    }

    /// Passes offsets to librdkafka, which commits them within a second, or at once when partitions are revoked.
    pub(super) fn flush_stored<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>) {
        if !self.has_stored.swap(false, Ordering::Acquire) {
            return;
        }
        let stored = std::mem::take(&mut *self.stored.lock());
        let mut list = TopicPartitionList::with_capacity(stored.len());
        for (partition, (offset, metadata)) in stored {
            let mut element = list.add_partition(&partition.topic, partition.partition);
            // Neither call fails: the offset is positive, and the text has no NUL.
            let _ = element.set_offset(Offset::Offset(offset));
            element.set_metadata(metadata);
        }
        match consumer.store_offsets(&list) {
            // A partition that was revoked meanwhile belongs to another member, whose offsets count.
            Ok(()) | Err(KafkaError::StoreOffset(RDKafkaErrorCode::State | RDKafkaErrorCode::UnknownPartition)) => {}
            Err(error) => warn!(%error, "failed to store offsets; the next ones replace them"),
        }
    }
}

/// The client context of the group member.
pub(super) struct Member {
    shared: Arc<MemberShared>,
    metadata: Arc<MetadataClient>,
    cluster: Arc<str>,
    /// The poll thread keeps the channel open; an abandoned client may outlive it.
    events: mpsc::WeakUnboundedSender<ConsumerEvent>,
    runtime: Handle,
    limits: RebalanceLimits,
    /// Whether another client has replaced this one, whose events no longer count.
    given_up: AtomicBool,
}

impl Member {
    pub(super) fn new(
        shared: Arc<MemberShared>,
        metadata: Arc<MetadataClient>,
        cluster: Arc<str>,
        events: mpsc::WeakUnboundedSender<ConsumerEvent>,
        runtime: Handle,
        limits: RebalanceLimits,
    ) -> Self {
        Self { shared, metadata, cluster, events, runtime, limits, given_up: AtomicBool::new(false) }
    }

    /// Sends an event to the engine, if it still exists.
    pub(super) fn tell(&self, event: ConsumerEvent) {
        if let Some(events) = self.events.upgrade() {
            let _ = events.send(event);
        }
    }

    /// Abandons this client in favour of another one. Its partitions are lost: other members may own them.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        let partitions = self.close(|_| true);
        if !partitions.is_empty() {
            let _ = self.ask(Instant::now(), |answer| ConsumerEvent::Revoked { partitions, lost: true, answer });
        }
        // Like the first client, the next one counts as connected until it reports otherwise.
        self.shared.note_connected(true);
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Closes the inboxes of the partitions that `leaves` selects, and returns these partitions.
    fn close(&self, leaves: impl Fn(&PartitionId) -> bool) -> Vec<PartitionId> {
        let mut closed = Vec::new();
        self.shared.inboxes.lock().retain(|id, inbox| {
            let leaves = leaves(id);
            if leaves {
                inbox.close();
                closed.push(id.clone());
            }
            !leaves
        });
        self.shared.assignments.fetch_add(1, Ordering::Release);
        closed
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let begun = Instant::now();
        let names = names(list);
        let Some(offers) = self.offers(begun, &names) else { return Self::refuse(consumer) };
        let partitions = offers.clone();
        let Some(starts) = self.ask(begun, |answer| ConsumerEvent::Assigned { partitions, answer }) else {
            return Self::refuse(consumer);
        };

        let mut assignment = TopicPartitionList::with_capacity(names.len());
        let mut paused = TopicPartitionList::new();
        let mut inboxes = self.shared.inboxes.lock();
        for (PartitionOffer { id, log_end, ready, .. }, start) in offers.into_iter().zip(starts) {
            let (start, offset) = match start {
                Start::At(offset) => (Some(offset), Offset::Offset(offset)),
                Start::Paused => {
                    paused.add_partition(&id.topic, id.partition);
                    (None, Offset::End)
                }
            };
            ffi::set_apart(consumer.client(), &id.topic, id.partition);
            // A valid offset and a name from librdkafka are always accepted.
            let _ = assignment.add_partition_offset(&id.topic, id.partition, offset);
            inboxes.insert(id.clone(), Inbox::new(id, log_end, start, ready));
        }
        drop(inboxes);
        self.shared.assignments.fetch_add(1, Ordering::Release);
        let assigned = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&assignment),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(&assignment),
        };
        if let Err(error) = assigned {
            self.fatal(format!("librdkafka refuses the assignment: {error}"));
        }
        if paused.count() > 0
            && let Err(error) = consumer.pause(&paused)
        {
            warn!(%error, "failed to pause stopped partitions; their fetched records are not handled");
        }
    }

    /// Asks the cluster until it answers, because assigned partitions cannot be skipped.
    fn offers(&self, begun: Instant, names: &[(String, i32)]) -> Option<Vec<PartitionOffer>> {
        let deadline = begun + self.limits.cluster;
        self.shared.expect_within(self.limits.cluster + ROUND);
        loop {
            match self.metadata.offers(&self.cluster, names, Some(deadline)) {
                Ok(offers) => {
                    *self.shared.trouble.lock() = None;
                    *self.shared.forbidden.lock() = None;
                    return Some(offers);
                }
                Err(error) if self.shared.closing.load(Ordering::Relaxed) => {
                    debug!(%error, "assigned partitions are skipped: the service is stopping");
                    return None;
                }
                Err(error) if Instant::now() > deadline => {
                    self.fatal(format!("the cluster assigns partitions, but does not report their state: {error}"));
                    return None;
                }
                Err(error) => self.hindered(&error),
            }
        }
    }

    fn hindered(&self, error: &BrokerError) {
        if self.shared.log_throttle.due("offers") {
            warn!(%error, "assigned partitions cannot be started yet; asking again");
        }
        *self.shared.trouble.lock() = Some(error.to_string());
        std::thread::sleep(Duration::from_millis(250));
    }

    /// Ends a rebalance without accepting partitions; librdkafka requires this call.
    fn refuse(consumer: &BaseConsumer<Self>) {
        let none = TopicPartitionList::new();
        let done = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&none),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        };
        if let Err(error) = done {
            debug!(%error, "failed to refuse an assignment");
        }
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let lost = consumer.assignment_lost();
        let leaving: HashSet<_> = names(list).into_iter().collect();
        // Names are compared: a topic that was created again has another id than the assigned one.
        let partitions = self.close(|id| leaving.contains(&(id.topic.to_string(), id.partition)));
        if lost {
            warn!(partitions = partitions.len(), "the session has ended; other members may own the partitions already");
        }
        let drained = self.ask(Instant::now(), |answer| ConsumerEvent::Revoked { partitions, lost, answer });
        if drained.is_none() {
            debug!("partitions are not drained: the engine has ended");
        }
        if !lost {
            self.shared.flush_stored(consumer);
        }
        Self::give_back(consumer, list);
    }

    fn give_back(consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let unassigned = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        };
        if let Err(error) = unassigned {
            // After a lost session librdkafka has dropped them by itself.
            debug!(%error, "failed to return partitions");
        }
    }

    /// Sends the engine an event and waits for its answer; `None` if the engine has ended, or if it does not answer in time,
    /// which is fatal. `begun` is the start of the callback.
    fn ask<T>(&self, begun: Instant, event: impl FnOnce(oneshot::Sender<T>) -> ConsumerEvent) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.events.upgrade()?.send(event(answer)).ok()?;
        let deadline = begun + self.limits.engine;
        self.shared.expect_within(deadline.saturating_duration_since(Instant::now()) + ROUND);
        let answer = self.runtime.block_on(async { tokio::time::timeout_at(deadline, answered).await });
        self.shared.beat();
        match answer {
            Ok(answer) => answer.ok(),
            Err(_) => {
                self.fatal(format!("the engine has not answered for {} s", begun.elapsed().as_secs()));
                None
            }
        }
    }

    pub(super) fn fatal(&self, reason: String) {
        error!(reason, "the consumer cannot continue");
        self.tell(ConsumerEvent::Fatal(reason));
    }
}

fn names(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.shared.log_throttle.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) if !self.is_given_up() => {
                if self.shared.note_connected(false) {
                    warn!(reason, "no broker is connected; trying again");
                }
            }
            _ => debug!(%error, reason, "librdkafka reports an error"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if self.is_given_up() {
            return;
        }
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        if statistics.cgrp.as_ref().is_some_and(Group::has_nothing)
            && !self.shared.told_of_nothing.swap(true, Ordering::Relaxed)
        {
            let (answer, _) = oneshot::channel();
            self.tell(ConsumerEvent::Assigned { partitions: Vec::new(), answer });
        }
        self.shared.group_is(statistics.cgrp.as_ref().is_some_and(Group::is_steady));
        let connected = statistics.is_connected();
        match (self.shared.note_connected(connected), connected) {
            (true, true) => info!("a broker is connected again"),
            (true, false) => warn!("no broker is connected; trying again"),
            (false, _) => {}
        }
        for inbox in self.shared.inboxes.lock().values() {
            if let Some(fetched) = statistics.fetched(&inbox.id.topic, inbox.id.partition) {
                inbox.fetched(fetched);
            }
        }
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS if self.is_given_up() => Self::refuse(consumer),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, list),
            _ if self.is_given_up() => Self::give_back(consumer, list),
            _ => self.revoke(consumer, list),
        }
        self.shared.beat();
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            // `NoOffset`: nothing was stored since the last commit.
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                if self.shared.log_throttle.due("commit") {
                    warn!(%error, "failed to commit offsets; the positions in the store count, so no event is handled again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_overdue_poll_thread_is_reported() {
        let shared = MemberShared::new();
        shared.beat();
        tokio::time::advance(ROUND).await;
        assert_eq!(shared.overdue(), None);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(shared.overdue().is_some_and(|overdue| overdue >= Duration::from_secs(2)));
        shared.beat();
        assert_eq!(shared.overdue(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_reaches_no_assignment_is_reported() {
        let shared = MemberShared::new();
        shared.group_is(false);
        tokio::time::advance(REBALANCED).await;
        assert_eq!(shared.rebalancing(), None, "a rebalance takes some time");
        tokio::time::advance(Duration::from_secs(1)).await;
        shared.group_is(false);
        assert!(shared.rebalancing().is_some());
        shared.group_is(true);
        assert_eq!(shared.rebalancing(), None);
    }
}
