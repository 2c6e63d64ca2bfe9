//! What the thread does that polls.
//!
//! It never waits for the engine outside of a rebalance. Records lie in an inbox for each partition; where one is too full, the
//! next records of its partition wait in librdkafka. The thread goes on polling, and so the member stays in its group whatever
//! the engine does.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rdkafka::{
    Message as _, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::time::Instant;
use tracing::warn;

use super::{
    consumer::Command,
    duty::Duty,
    ffi::{self, FetchQueue, Fetched},
    inbox::{Inbox, Room},
    member::{Member, UNREADABLE},
    membership::Membership,
    refetch::Flow,
    room,
    turns::Turn,
};
use crate::model::{PartitionId, Pool, RecordBatch};

/// Records that are polled before they go to their inboxes, where more are there at once.
const FLUSH_RECORDS: usize = 500;
/// The same in bytes, for large records.
const FLUSH_BYTES: usize = 1024 * 1024;
/// Fewer than this come alone, and are for the task of the runtime.
const FEW: usize = 64;
/// After more have come at once, the thread is on duty for so long.
const MUCH: Duration = Duration::from_millis(100);
/// How long the thread waits for records: the time in which a command is heard while nothing arrives.
const POLL: Duration = Duration::from_millis(20);
/// The same while a partition waits for room.
const POLL_HELD: Duration = Duration::from_millis(2);
/// How long the thread lets a seek take.
pub(super) const SEEK: Duration = Duration::from_secs(2);
/// When a seek that has failed is tried again.
const SEEK_AGAIN: Duration = Duration::from_millis(200);
/// How long asking to leave the group may take, once nothing is left.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often a topic is looked for that is subscribed and not there.
const MISSING_AGAIN: Duration = Duration::from_secs(2);

/// The state of the loop.
pub(super) struct Polled {
    pub(super) consumer: Arc<BaseConsumer<Member>>,
    /// Where records come; everything else comes from the consumer itself.
    pub(super) fetched: FetchQueue<Member>,
    pub(super) membership: Arc<Membership>,
    pub(super) known: Known,
    duty: Arc<Duty>,
    /// When many records last came at once.
    much_came: Option<Instant>,
    /// What the task has met, for the thread.
    errors: Vec<KafkaError>,
    /// When the broker was last asked which topics there are.
    topics_asked: Option<Instant>,
    /// Seeks to be tried again, and when.
    pub(super) seeks: Vec<(Seek, Instant)>,
    /// When partitions were last looked at that may stand still.
    pub(super) looked: Instant,
    /// When it was last looked who has had a turn.
    pub(super) turned: Instant,
    /// The memory of batches.
    pool: Arc<Pool>,
}

/// A partition to be set back.
pub(super) struct Seek {
    pub(super) inbox: Arc<Inbox>,
    pub(super) offset: i64,
    /// Whether the engine has asked for it; else it undoes what librdkafka has done.
    pub(super) by_engine: bool,
}

/// What the loop knows of the assignment; made anew after each change of it.
#[derive(Default)]
pub(super) struct Known {
    assignments: u64,
    /// Places in `lanes`, by librdkafka's topic handle and the partition.
    places: HashMap<(usize, i32), usize>,
    last: Option<((usize, i32), usize)>,
    pub(super) lanes: Vec<Lane>,
    /// Records in all lanes, and their bytes.
    records: usize,
    bytes: usize,
    /// How many bytes may wait in an inbox.
    pub(super) limit: usize,
}

/// Records of one partition on their way to its inbox.
pub(super) struct Lane {
    pub(super) inbox: Arc<Inbox>,
    records: RecordBatch,
    /// The offset after the last record that was polled; at first the one that the engine has named.
    pub(super) next: Option<i64>,
    pub(super) flow: Flow,
    /// Since when its inbox has had no room.
    pub(super) full_since: Option<Instant>,
    pub(super) turn: Turn,
}

/// What the thread waits for after a round.
pub(super) enum Rest {
    /// Nothing: the next round is due.
    None,
    /// Records, for so long.
    Records(Duration),
    /// That an owner takes something, for so long.
    Room(Duration),
}

impl Polled {
    /// `duty` is called when records come.
    pub(super) fn new(consumer: &Arc<BaseConsumer<Member>>, membership: &Arc<Membership>, duty: Arc<Duty>) -> Self {
        let called = Arc::clone(&duty);
        Self {
            consumer: Arc::clone(consumer),
            fetched: FetchQueue::noticed(consumer, move || called.call()),
            membership: Arc::clone(membership),
            known: Known::default(),
            duty,
            much_came: None,
            errors: Vec::new(),
            topics_asked: None,
            seeks: Vec::new(),
            looked: Instant::now(),
            turned: Instant::now(),
            pool: Arc::default(),
        }
    }

    /// One round of the thread: commands, offsets, then whatever has arrived.
    pub(super) fn round(&mut self) -> Rest {
        // Before anything more is taken: the task leaves them to the thread.
        self.answer_errors();
        self.obey();
        self.membership.shared.flush_stored(&self.consumer);
        self.look_for_stalls();
        self.take_turns();
        if self.membership.shared.missing.lock().is_some() {
            self.find_missing();
        }
        let room = self.look_for_room();
        let wait = if room == Room::Free { POLL } else { POLL_HELD };
        let has_none = self.known.lanes.is_empty();
        // Without a partition there is nothing to wait for but an assignment.
        self.listen(if has_none { wait } else { Duration::ZERO });
        self.refresh();
        if has_none {
            return Rest::None;
        }
        if room == Room::Full {
            self.duty.put_on(false);
            return Rest::Room(wait);
        }
        self.take(FLUSH_RECORDS);
        self.answer_errors();
        let much = self.much_came.is_some_and(|came| came.elapsed() < MUCH);
        self.duty.put_on(room == Room::Free && !much);
        if self.fetched.is_empty() { Rest::Records(wait) } else { Rest::None }
    }

    /// The task's turn: takes what has arrived. Answers whether that is all; else the thread is to go on.
    pub(super) fn take_few(&mut self) -> bool {
        self.refresh();
        if !self.errors.is_empty() || self.look_for_room() != Room::Free {
            return false;
        }
        self.take(FEW) < FEW && self.errors.is_empty()
    }

    fn answer_errors(&mut self) {
        for error in std::mem::take(&mut self.errors) {
            self.failed(&error);
        }
    }

    /// Moves records into their inboxes, and answers how many: where they are fewer than the limit, no more were there. Of errors
    /// nothing is done yet, since one may set a partition back, and what was taken with it is from before that.
    fn take(&mut self, limit: usize) -> usize {
        let fetch = self.fetched.fetch(limit);
        if fetch.len() >= FEW {
            self.much_came = Some(Instant::now());
        }
        for record in fetch.iter() {
            match record {
                Ok(record) => self.keep(&record),
                Err(error) => self.errors.push(error),
            }
            if self.known.bytes >= FLUSH_BYTES {
                self.flush();
            }
        }
        self.flush();
        fetch.len()
    }

    /// Serves what librdkafka has to tell beside records: rebalances, errors, statistics.
    fn listen(&mut self, mut wait: Duration) {
        let consumer = Arc::clone(&self.consumer);
        // One at least: this is how librdkafka learns that the member is alive.
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
                // Of a partition that has just gone; its next owner handles the record.
                None => return,
            },
        };
        self.known.last = Some((handle, place));
        let lane = &mut self.known.lanes[place];
        lane.next = Some(record.offset() + 1);
        lane.records.push(record.offset(), record.timestamp(), record.key(), record.payload(), record.headers());
        self.known.records += 1;
        self.known.bytes += record.payload().map_or(0, <[u8]>::len);
    }

    /// Forgets what was known before the last change of the assignment.
    pub(super) fn refresh(&mut self) {
        let assignments = self.membership.shared.assignments.load(Ordering::Acquire);
        if self.known.assignments == assignments {
            return;
        }
        let inboxes = self.membership.shared.inboxes.lock();
        let limit = room::share(inboxes.len());
        let mut former = std::mem::take(&mut self.known.lanes);
        let lanes: Vec<Lane> = inboxes
            .values()
            .map(|inbox| {
                // What is on its way to a partition that stays goes on.
                let kept = former.iter().position(|lane| Arc::ptr_eq(&lane.inbox, inbox));
                kept.map_or_else(
                    || Lane {
                        inbox: Arc::clone(inbox),
                        records: self.pool.batch(),
                        next: inbox.start,
                        flow: Flow::new(),
                        full_since: None,
                        turn: Turn::default(),
                    },
                    |place| former.swap_remove(place),
                )
            })
            .collect();
        for lane in lanes.iter().filter(|lane| !lane.inbox.held()) {
            self.lead_here(&lane.inbox.id);
        }
        let records = lanes.iter().map(|lane| lane.records.len()).sum();
        let bytes = lanes.iter().map(|lane| lane.records.size()).sum();
        self.known = Known { assignments, lanes, records, bytes, limit, ..Known::default() };
    }

    fn place(&mut self, handle: (usize, i32), record: &Fetched<'_>) -> Option<usize> {
        if let Some(place) = self.known.places.get(&handle) {
            return Some(*place);
        }
        let (topic, partition) = (record.topic().to_bytes(), record.partition());
        let place = self
            .known
            .lanes
            .iter()
            .position(|lane| lane.inbox.id.partition == partition && lane.inbox.id.topic.as_bytes() == topic)?;
        self.known.places.insert(handle, place);
        Some(place)
    }

    /// Moves what was polled into the inboxes.
    pub(super) fn flush(&mut self) {
        if self.known.records == 0 {
            return;
        }
        self.known.records = 0;
        self.known.bytes = 0;
        // Told once by librdkafka, and taken back by nobody but the records.
        *self.membership.shared.forbidden.lock() = None;
        for lane in &mut self.known.lanes {
            if lane.records.is_empty() {
                continue;
            }
            lane.flow = Flow::new();
            lane.turn.served = true;
            let id = &lane.inbox.id;
            if let Some(end) = ffi::known_log_end(self.consumer.client(), &id.topic, id.partition) {
                lane.inbox.log_end(Some(end));
            }
            let records = std::mem::replace(&mut lane.records, self.pool.batch());
            lane.inbox.add(records);
        }
    }

    fn obey(&mut self) {
        let now = Instant::now();
        if let Some(place) = self.seeks.iter().position(|(_, due)| *due <= now) {
            let (seek, _) = self.seeks.swap_remove(place);
            self.seek(seek);
        }
        while let Some(command) = self.membership.next_command() {
            match command {
                Command::Pause(id) => self.pause(&id),
                Command::Resume(id) => self.resume(&id),
                Command::Seek(inbox, offset) => self.seek(Seek { inbox, offset, by_engine: true }),
            }
        }
    }

    pub(super) fn seek(&mut self, seek: Seek) {
        self.refresh();
        // The last seek counts; one that is still to be tried again is over.
        self.seeks.retain(|(former, _)| {
            let same = Arc::ptr_eq(&former.inbox, &seek.inbox);
            if same {
                former.inbox.sought(former.by_engine);
            }
            !same
        });
        let Seek { inbox, offset, by_engine } = &seek;
        let Some(lane) = self.known.lanes.iter_mut().find(|lane| Arc::ptr_eq(&lane.inbox, inbox)) else { return };
        self.known.records -= lane.records.len();
        lane.records.clear();
        lane.next = Some(*offset);
        let id = &inbox.id;
        match self.set_back(id, *offset) {
            Ok(()) => {
                // Whatever has held it is gone.
                self.lead_here(id);
                if inbox.sought(*by_engine) {
                    self.resume(id);
                } else {
                    self.pause(id);
                }
            }
            Err(error) => {
                // Until it is done the inbox stays closed, so nothing is handled out of order meanwhile.
                if self.membership.shared.voice.due("seek") {
                    warn!(partition = %id, offset, %error, "the partition is not set back yet; trying again");
                }
                self.seeks.push((seek, Instant::now() + SEEK_AGAIN));
            }
        }
    }

    pub(super) fn pause(&self, id: &PartitionId) {
        if let Err(error) = self.consumer.pause(&one(id)) {
            warn!(partition = %id, %error, "the partition is not paused; its records wait in memory");
        }
    }

    pub(super) fn resume(&self, id: &PartitionId) {
        if let Err(error) = self.consumer.resume(&one(id)) {
            warn!(partition = %id, %error, "the partition is not resumed");
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
                if self.membership.shared.voice.due(text) {
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
                    || "members of the group use another assignor than this one; end them, or set another KAFKA_GROUP_ID".to_owned(),
                    |group| group.other_protocol(&self.membership.config),
                ));
            }
            KafkaError::MessageConsumption(
                code @ (RDKafkaErrorCode::BadCompression | RDKafkaErrorCode::BadMessage),
            ) => {
                self.membership.shared.met_unreadable();
                if self.membership.shared.voice.due("unreadable") {
                    warn!(%error, "{UNREADABLE}");
                }
                // What came damaged over the line may come whole the next time; what does not unpack will not.
                if *code == RDKafkaErrorCode::BadMessage {
                    self.damaged();
                }
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::PollExceeded) => {
                warn!("the group has given this member up, because it did not poll in time; joining again");
            }
            other => {
                if self.membership.shared.voice.due("consume") {
                    warn!(error = %other, "librdkafka tells of an error and goes on");
                }
            }
        }
    }

    fn trouble(&self, text: &str) {
        if self.membership.shared.voice.due(text) {
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
        let named = self.membership.config.topics.iter().filter(|topic| !topic.starts_with('^'));
        let missing: Vec<&str> = named
            .filter(|topic| matches!(self.membership.metadata.partitions(topic), Ok(None)))
            .map(String::as_str)
            .collect();
        let text = (!missing.is_empty())
            .then(|| format!("there is no topic {}; create it, or correct KAFKA_TOPIC", missing.join(", ")));
        if let Some(text) = &text
            && shared.voice.due("topics")
        {
            warn!("{text}");
        }
        *shared.missing.lock() = text;
    }

    /// Leaves the group: gives partitions back, which drains them, and hands in their offsets.
    ///
    /// A client that is closed while its last offsets are on their way ends without a word to the group, whose other members
    /// then wait for a whole session. So `shows_leaving` waits until it has asked to leave.
    pub(super) fn leave(&mut self, shows_leaving: bool) {
        self.consumer.unsubscribe();
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut farewell = None;
        while Instant::now() < deadline {
            self.membership.shared.beat();
            self.membership.shared.flush_stored(&self.consumer);
            // Records that still come are not kept: their partition goes, and its next owner reads them.
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

pub(super) fn one(id: &PartitionId) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(&id.topic, id.partition);
    list
}
