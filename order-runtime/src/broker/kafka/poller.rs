//! The loop of the poll thread.
//!
//! It never waits for the engine outside of a rebalance. Each partition has an inbox for its records. If the inbox is too full,
//! the next records of the partition wait in librdkafka. The thread continues to poll, so the member stays in its group whatever
//! the engine does.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use rdkafka::{
    Message as _,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::time::Instant;
use tracing::warn;

use super::{
    fetch_policy::{FetchDecision, FetchPolicy},
    ffi::{self, FetchQueue, Fetched},
    inbox::Inbox,
    member::{Member, UNREADABLE},
    membership::Membership,
};
use crate::model::{Pool, RecordBatch, TopicPattern};

/// The most records that are polled before they move to their inboxes.
const FLUSH_RECORDS: usize = 500;
/// The number of polled bytes after which records move to their inboxes.
const FLUSH_BYTES: usize = 1024 * 1024;
/// How long the request to leave the group may take, once no partition is left.
const FAREWELL: Duration = Duration::from_secs(2);
/// The interval between checks for a subscribed topic that does not exist.
const MISSING_AGAIN: Duration = Duration::from_secs(2);

/// The state of the loop.
pub(super) struct Polled {
    pub(super) consumer: Arc<BaseConsumer<Member>>,
    /// The queue of records; all other events come from the consumer itself.
    pub(super) fetched: FetchQueue<Member>,
    pub(super) membership: Arc<Membership>,
    pub(super) known: Known,
    pub(super) policy: FetchPolicy,
    /// When the broker was last asked whether the topics exist.
    topics_asked: Option<Instant>,
    /// Seeks to be retried, and when.
    pub(super) seeks: Vec<(Seek, Instant)>,
    /// When partitions were last checked.
    pub(super) checked: Instant,
    /// The reused memory of batches.
    pool: Arc<Pool>,
}

/// A seek in a partition.
pub(super) struct Seek {
    pub(super) inbox: Arc<Inbox>,
    pub(super) offset: i64,
    /// Whether the engine has requested it. Otherwise, it repairs the fetch position of librdkafka.
    pub(super) by_engine: bool,
}

/// The loop's view of the assignment, rebuilt after each change of it.
#[derive(Default)]
pub(super) struct Known {
    assignments: u64,
    /// Indices in `feeds`, by librdkafka's topic handle and the partition.
    places: HashMap<(usize, i32), usize>,
    last: Option<((usize, i32), usize)>,
    pub(super) feeds: Vec<Feed>,
    /// Records in all feeds, and their bytes.
    records: usize,
    bytes: usize,
}

/// Records of one partition on their way to its inbox.
pub(super) struct Feed {
    pub(super) inbox: Arc<Inbox>,
    records: RecordBatch,
    /// The offset after the last polled record; at first, the start that the engine has chosen.
    pub(super) next: Option<i64>,
}

impl Known {
    /// Drops the polled records of a partition, which continues at `offset`. Returns false if it is not assigned.
    pub(super) fn restart(&mut self, inbox: &Arc<Inbox>, offset: i64) -> bool {
        let Some(feed) = self.feeds.iter_mut().find(|feed| Arc::ptr_eq(&feed.inbox, inbox)) else { return false };
        self.records -= feed.records.len();
        feed.records.clear();
        feed.next = Some(offset);
        true
    }
}

impl Polled {
    /// Creates the state. The calling thread is the poll thread, which arriving records wake.
    pub(super) fn new(consumer: &Arc<BaseConsumer<Member>>, membership: &Arc<Membership>) -> Self {
        let thread = thread::current();
        let now = Instant::now();
        Self {
            consumer: Arc::clone(consumer),
            fetched: FetchQueue::noticed(consumer, move || thread.unpark()),
            membership: Arc::clone(membership),
            known: Known::default(),
            policy: FetchPolicy::new(now),
            topics_asked: None,
            seeks: Vec::new(),
            checked: now,
            pool: Arc::default(),
        }
    }

    /// One round of the thread: commands, offsets, events, then arrived records. It ends with a wait for the next ones.
    pub(super) fn round(&mut self) {
        self.obey();
        self.membership.shared.flush_stored(&self.consumer);
        let FetchDecision { take, next, .. } = self.control_fetching();
        if self.membership.shared.missing.lock().is_some() {
            self.find_missing();
        }
        let has_none = self.known.feeds.is_empty();
        // Without a partition, the thread waits for an assignment only.
        self.listen(if has_none { next } else { Duration::ZERO });
        self.refresh();
        if has_none {
            return;
        }
        if !take {
            return self.membership.shared.taken.wait(next);
        }
        self.take();
        if self.fetched.is_empty() {
            // Arriving records end the wait.
            thread::park_timeout(next);
        }
    }

    /// Moves arrived records into their inboxes.
    fn take(&mut self) {
        let fetch = self.fetched.fetch(FLUSH_RECORDS);
        let mut errors = Vec::new();
        for record in fetch.iter() {
            match record {
                Ok(record) => self.keep(&record),
                Err(error) => errors.push(error),
            }
            if self.known.bytes >= FLUSH_BYTES {
                self.flush();
            }
        }
        self.flush();
        // Handling an error may set a partition back, and the records taken with the error are from before that.
        for error in errors {
            self.failed(&error);
        }
    }

    /// Handles librdkafka's events other than records: rebalances, errors, statistics.
    fn listen(&mut self, mut wait: Duration) {
        let consumer = Arc::clone(&self.consumer);
        // At least one poll, because it shows librdkafka that the member is alive.
        for _ in 0..=ffi::waiting_events(consumer.client()) {
            match consumer.poll(wait) {
                None => {}
                Some(Ok(record)) => self.astray(record.topic(), record.partition()),
                Some(Err(error)) => self.failed(&error),
            }
            wait = Duration::ZERO;
        }
    }

    fn keep(&mut self, record: &Fetched<'_>) {
        let handle = record.handle();
        let place = match self.known.last {
            Some((last, place)) if last == handle => place,
            _ => match self.place(handle, record) {
                Some(place) => place,
                // The partition was just revoked; its next owner handles the record.
                None => return,
            },
        };
        self.known.last = Some((handle, place));
        let feed = &mut self.known.feeds[place];
        feed.next = Some(record.offset() + 1);
        feed.records.push(record.offset(), record.timestamp(), record.key(), record.payload(), record.headers());
        self.known.records += 1;
        self.known.bytes += record.payload().map_or(0, <[u8]>::len);
    }

    /// Rebuilds the view if the assignment has changed.
    pub(super) fn refresh(&mut self) {
        let assignments = self.membership.shared.assignments.load(Ordering::Acquire);
        if self.known.assignments == assignments {
            return;
        }
        let inboxes = self.membership.shared.inboxes.lock();
        // A partition that stays keeps its polled records.
        let former = |inbox: &Arc<Inbox>| self.known.feeds.iter().position(|feed| Arc::ptr_eq(&feed.inbox, inbox));
        let places: Vec<Option<usize>> = inboxes.values().map(former).collect();
        self.policy.reassign(&places, Instant::now());
        let mut former: Vec<Option<Feed>> = self.known.feeds.drain(..).map(Some).collect();
        let new = |inbox: &Arc<Inbox>| Feed { inbox: Arc::clone(inbox), records: self.pool.batch(), next: inbox.start };
        let feeds: Vec<Feed> = inboxes
            .values()
            .zip(places)
            .map(|(inbox, place)| place.and_then(|place| former[place].take()).unwrap_or_else(|| new(inbox)))
            .collect();
        drop(inboxes);
        for feed in feeds.iter().filter(|feed| !feed.inbox.is_held()) {
            self.lead_here(&feed.inbox.id);
        }
        let records = feeds.iter().map(|feed| feed.records.len()).sum();
        let bytes = feeds.iter().map(|feed| feed.records.size()).sum();
        self.known = Known { assignments, feeds, records, bytes, ..Known::default() };
    }

    fn place(&mut self, handle: (usize, i32), record: &Fetched<'_>) -> Option<usize> {
        if let Some(place) = self.known.places.get(&handle) {
            return Some(*place);
        }
        let (topic, partition) = (record.topic().to_bytes(), record.partition());
        let place = self
            .known
            .feeds
            .iter()
            .position(|feed| feed.inbox.id.partition == partition && feed.inbox.id.topic.as_bytes() == topic)?;
        self.known.places.insert(handle, place);
        Some(place)
    }

    /// Moves polled records into the inboxes.
    pub(super) fn flush(&mut self) {
        if self.known.records == 0 {
            return;
        }
        self.known.records = 0;
        self.known.bytes = 0;
        // librdkafka reports a missing permission once. Only arriving records show that it was granted again.
        *self.membership.shared.forbidden.lock() = None;
        for feed in &mut self.known.feeds {
            if feed.records.is_empty() {
                continue;
            }
            let id = &feed.inbox.id;
            if let Some(end) = ffi::known_log_end(self.consumer.client(), &id.topic, id.partition) {
                feed.inbox.log_end(Some(end));
            }
            let records = std::mem::replace(&mut feed.records, self.pool.batch());
            feed.inbox.add(records);
        }
    }

    fn failed(&mut self, error: &KafkaError) {
        let member = self.consumer.context();
        match error {
            KafkaError::MessageConsumptionFatal(code) => member.fatal(format!("librdkafka has failed: {code}")),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.out_of_range();
            }
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
            ) => self.find_missing(),
            KafkaError::MessageConsumption(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                let text = "the broker does not let this user read a topic; grant it READ and DESCRIBE";
                if self.membership.shared.log_throttle.due(text) {
                    warn!("{text}");
                }
                *self.membership.shared.forbidden.lock() = Some(text.to_owned());
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                self.trouble("the broker does not let this user join the group; grant it READ on the group");
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::InconsistentGroupProtocol) => {
                let group = self.membership.metadata.group().ok().flatten();
                self.trouble(&group.map_or_else(
                    || "members of the group use another assignor than this service; stop them, or set another KAFKA_GROUP_ID".to_owned(),
                    |group| group.other_protocol(&self.membership.config),
                ));
            }
            KafkaError::MessageConsumption(
                code @ (RDKafkaErrorCode::BadCompression | RDKafkaErrorCode::BadMessage),
            ) => {
                self.membership.shared.met_unreadable();
                if self.membership.shared.log_throttle.due("unreadable") {
                    warn!(%error, "{UNREADABLE}");
                }
                // A batch that was damaged in transit may arrive intact the next time. One that cannot be decompressed will not.
                if *code == RDKafkaErrorCode::BadMessage {
                    self.damaged();
                }
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::PollExceeded) => {
                warn!("the group has removed this member because it did not poll in time; joining again");
            }
            other => {
                if self.membership.shared.log_throttle.due("consume") {
                    warn!(error = %other, "librdkafka reports an error and continues");
                }
            }
        }
    }

    fn trouble(&self, text: &str) {
        if self.membership.shared.log_throttle.due(text) {
            warn!("{text}");
        }
        *self.membership.shared.trouble.lock() = Some(text.to_owned());
    }

    fn find_missing(&mut self) {
        if self.topics_asked.is_some_and(|asked| asked.elapsed() < MISSING_AGAIN) {
            return;
        }
        self.topics_asked = Some(Instant::now());
        let shared = &self.membership.shared;
        let named = self.membership.config.topics.iter().filter_map(TopicPattern::name);
        let missing: Vec<&str> =
            named.filter(|topic| matches!(self.membership.metadata.partitions(topic), Ok(None))).collect();
        let text = (!missing.is_empty())
            .then(|| format!("there is no topic {}; create it, or correct KAFKA_TOPIC", missing.join(", ")));
        if let Some(text) = &text
            && shared.log_throttle.due("topics")
        {
            warn!("{text}");
        }
        *shared.missing.lock() = text;
    }

    /// Leaves the group: returns the partitions, which drains them, and commits their offsets.
    ///
    /// A client that is closed while its last offsets are in flight ends without notifying the group, and the other members then
    /// wait for a whole session time-out. So, with `shows_leaving`, this waits until the client has sent its request to leave.
    pub(super) fn leave(&mut self, shows_leaving: bool) {
        self.consumer.unsubscribe();
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut farewell = None;
        while Instant::now() < deadline {
            self.membership.shared.beat();
            self.membership.shared.flush_stored(&self.consumer);
            // Records that still arrive are dropped: their partition is being revoked, and its next owner reads them.
            let _ = self.consumer.poll(Duration::from_millis(10));
            let nothing_left = self.consumer.assignment().is_ok_and(|list| list.count() == 0);
            if !nothing_left || !self.membership.shared.inboxes.lock().is_empty() {
                continue;
            }
            let farewell = *farewell.get_or_insert_with(|| Instant::now() + FAREWELL);
            if !shows_leaving || !ffi::has_member_id(self.consumer.client()) || Instant::now() > farewell {
                break;
            }
        }
    }
}
