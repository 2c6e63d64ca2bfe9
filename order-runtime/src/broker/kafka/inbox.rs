//! The inbox of a partition: its records wait here between the poll thread and the partition owner.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use tokio::{sync::Notify, time::Instant};

use super::{reach::Reach, statistics::FetchProgress};
use crate::{
    broker::InboxStatus,
    model::{PartitionId, RecordBatch, RecordRef},
};

/// One assigned partition, shared by the poll thread and the engine.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) id: PartitionId,
    /// The start of the partition; `None` if it does not begin yet.
    pub(super) start: Option<i64>,
    state: Mutex<State>,
    /// Notifies the partition owner.
    ready: Arc<Notify>,
    /// The end of the log, as reported with the assignment and raised by later reports.
    pub(super) log_end: AtomicI64,
}

/// Records that arrive one by one are joined into batches up to this size. Larger batches stay as they are, so that no record is
/// copied a second time.
const SMALL: usize = 64 * 1024;
/// If nothing has arrived for this long, the end of the log is requested.
const QUIET: Duration = Duration::from_secs(5);
/// A partition counts as busy for this long after records have arrived.
const BUSY: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct State {
    batches: VecDeque<RecordBatch>,
    /// The size of all batches.
    bytes: usize,
    /// The number of requested seeks that the poll thread has not done. Until it has, nothing is taken or added, since the
    /// records would be from before the seek.
    seeking: u32,
    /// Whether the partition was revoked.
    closed: bool,
    /// Whether the engine has paused it.
    paused: bool,
    hold: Hold,
    reach: Reach,
    /// When records last arrived.
    came: Instant,
}

impl State {
    fn empty(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    /// Whether records may arrive: neither the engine nor the poll thread has stopped them.
    fn is_fetched(&self) -> bool {
        !(self.paused || self.hold != Hold::None || self.closed || self.seeking > 0)
    }

    fn first_offset(&self) -> Option<i64> {
        self.batches.front().and_then(|first| first.get(0)).map(|record| record.offset)
    }
}

/// Why the poll thread takes no records of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    None,
    /// The inbox is full: further records are left to librdkafka.
    Full,
    /// The partition is paused, so that others get their turn.
    Resting,
}

/// Whether the inbox accepts further records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It does.
    Free,
    /// It is full.
    Full,
    /// Further records are left to librdkafka.
    Held,
    /// Further records were left to librdkafka, and the inbox accepts them again.
    Freed,
}

impl Inbox {
    pub(super) fn new(id: PartitionId, log_end: i64, start: Option<i64>, ready: Arc<Notify>) -> Arc<Self> {
        let mut reach = Reach::new(start);
        reach.ends(log_end);
        let state = State {
            batches: VecDeque::new(),
            bytes: 0,
            seeking: 0,
            closed: false,
            paused: start.is_none(),
            hold: Hold::None,
            reach,
            came: Instant::now(),
        };
        Arc::new(Self { id, start, state: Mutex::new(state), ready, log_end: AtomicI64::new(log_end) })
    }

    /// Adds polled records, and notifies the partition owner if the inbox was empty.
    pub(super) fn add(&self, mut records: RecordBatch) {
        let mut state = self.state.lock();
        if state.closed || state.seeking > 0 {
            return;
        }
        let was_empty = state.batches.is_empty();
        if let Some(last) = records.get(records.len().saturating_sub(1)) {
            state.reach.received(last.offset + 1);
            state.came = Instant::now();
        }
        state.bytes += records.size();
        match state.batches.back_mut().filter(|last| last.size() + records.size() <= SMALL) {
            Some(last) => last.append_batch(&mut records),
            None => state.batches.push_back(records),
        }
        drop(state);
        if was_empty {
            self.ready.notify_one();
        }
    }

    /// Takes the first batch of records, or as many of its records as fit within the limits, but at least one.
    pub(super) fn take(&self, max_records: usize, max_bytes: usize) -> RecordBatch {
        let mut state = self.state.lock();
        if state.closed || state.seeking > 0 {
            return RecordBatch::default();
        }
        let Some(mut first) = state.batches.pop_front() else { return RecordBatch::default() };
        if first.len() > max_records || first.size() > max_bytes {
            let mut bytes = 0;
            let fits = |record: &RecordRef<'_>| {
                bytes += record.size();
                bytes <= max_bytes
            };
            let fitting = first.iter().take(max_records).take_while(fits).count();
            let taken = first.split_front(fitting.max(1));
            if !first.is_empty() {
                state.batches.push_front(first);
            }
            first = taken;
        }
        state.bytes -= first.size();
        if let Some(last) = first.get(first.len().saturating_sub(1)) {
            let some_left = !state.batches.is_empty();
            state.reach.took(last.offset + 1, some_left);
        }
        first
    }

    /// The size of the waiting records in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Whether the inbox accepts further records, with a capacity of `limit` bytes. After it was held, half of them must be free.
    pub(super) fn room(&self, limit: usize) -> Room {
        let mut state = self.state.lock();
        match state.hold {
            Hold::Full if state.bytes <= limit / 2 => {
                state.hold = Hold::None;
                Room::Freed
            }
            Hold::Full => Room::Held,
            Hold::None if state.bytes > limit => Room::Full,
            Hold::None | Hold::Resting => Room::Free,
        }
    }

    /// Leaves further records to librdkafka, until [`room`](Self::room) returns [`Room::Freed`].
    pub(super) fn hold(&self) {
        let mut state = self.state.lock();
        state.hold = Hold::Full;
        state.reach.pauses();
    }

    /// Whether further records are left to librdkafka.
    pub(super) fn held(&self) -> bool {
        self.state.lock().hold == Hold::Full
    }

    /// Whether records are expected: the log has more, and fetching is not stopped.
    pub(super) fn expects_records(&self) -> bool {
        let state = self.state.lock();
        state.is_fetched() && state.reach.has_more()
    }

    /// Whether the inbox is empty although the log has more and fetching is not stopped.
    pub(super) fn is_hungry(&self) -> bool {
        let state = self.state.lock();
        state.is_fetched() && state.batches.is_empty() && state.reach.has_more()
    }

    /// Whether records have arrived just now.
    pub(super) fn is_busy(&self) -> bool {
        self.state.lock().came.elapsed() < BUSY
    }

    /// Notes that the poll thread pauses the partition in favour of others. Returns whether it must do so.
    pub(super) fn rest(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_fetched() {
            return false;
        }
        state.hold = Hold::Resting;
        state.reach.pauses();
        true
    }

    /// Whether the partition is paused in favour of others.
    pub(super) fn rests(&self) -> bool {
        self.state.lock().hold == Hold::Resting
    }

    /// Ends the pause in favour of others. Returns whether fetching must be resumed.
    pub(super) fn end_rest(&self) -> bool {
        let mut state = self.state.lock();
        if state.hold != Hold::Resting {
            return false;
        }
        state.hold = Hold::None;
        !state.paused && state.seeking == 0
    }

    /// Whether no fetch reports the end of the log.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state.lock();
        !state.is_fetched() || state.came.elapsed() > QUIET
    }

    /// Sets since when expected records have not arrived.
    pub(super) fn set_silent(&self, since: Option<Instant>) {
        self.state.lock().reach.silent_since = since;
    }

    /// Notes the fetch progress that librdkafka reports.
    pub(super) fn fetched(&self, progress: FetchProgress) {
        let mut state = self.state.lock();
        state.reach.ends(progress.stable_end);
        if state.is_fetched() {
            state.reach.fetched(progress.position);
            state.reach.waits_for_transaction(progress.waits_for_transaction);
        }
    }

    /// Notes the end of the log, from the answer to a request.
    pub(super) fn ends(&self, end: i64) {
        self.log_end(Some(end));
        self.state.lock().reach.ends(end);
    }

    /// How records arrive.
    pub(super) fn inbox_status(&self) -> InboxStatus {
        let state = self.state.lock();
        InboxStatus {
            log_end: self.log_end(None),
            taken: state.reach.taken,
            next: state.reach.next(state.first_offset()),
            ready_since: state.reach.ready_since,
            silent_since: state.reach.silent_since,
            transaction_since: state.reach.transaction_since,
        }
    }

    /// Drops everything, to continue at `offset`. Nothing is added or taken until [`sought`](Self::sought).
    pub(super) fn begin_seek(&self, offset: i64) {
        let mut state = self.state.lock();
        state.empty();
        state.seeking += 1;
        state.reach.set_back(offset);
    }

    /// Like [`begin_seek`](Self::begin_seek), to repair fetching. Returns the offset to continue at: that of the first waiting
    /// record, or `next` if there is none.
    pub(super) fn begin_refetch(&self, next: i64) -> i64 {
        let mut state = self.state.lock();
        let from = state.first_offset().unwrap_or(next);
        state.empty();
        state.seeking += 1;
        state.reach.come_again(from);
        from
    }

    /// Notes that one seek is done. Returns whether the partition must be fetched now: a seek of the engine ends the engine's
    /// pause, another one does not.
    pub(super) fn sought(&self, by_engine: bool) -> bool {
        let mut state = self.state.lock();
        state.seeking = state.seeking.saturating_sub(1);
        state.paused &= !by_engine;
        state.hold = Hold::None;
        !state.paused
    }

    /// Notes that the engine pauses or resumes the partition.
    pub(super) fn set_paused(&self, paused: bool) {
        let mut state = self.state.lock();
        state.paused = paused;
        if state.hold == Hold::Resting {
            state.hold = Hold::None;
        }
        state.reach.pauses();
    }

    /// Notifies the partition owner if records wait to be taken.
    pub(super) fn tell_if_ready(&self) {
        if !self.state.lock().batches.is_empty() {
            self.ready.notify_one();
        }
    }

    /// Closes the inbox of a revoked partition: nothing is added or taken any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.empty();
    }

    /// The end of the log as last reported, raised to `heard` if that is higher.
    pub(super) fn log_end(&self, heard: Option<i64>) -> i64 {
        heard.map_or_else(
            || self.log_end.load(Ordering::Relaxed),
            |heard| self.log_end.fetch_max(heard, Ordering::Relaxed).max(heard),
        )
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    fn inbox() -> Arc<Inbox> {
        let id = PartitionId { cluster: "c".into(), topic_id: Uuid::nil(), topic: "t".into(), partition: 0 };
        Inbox::new(id, 0, Some(0), Arc::default())
    }

    fn records(offsets: std::ops::Range<i64>) -> RecordBatch {
        let mut batch = RecordBatch::default();
        for offset in offsets {
            batch.push(offset, None, None, Some(&[0; 10]), []);
        }
        batch
    }

    fn offsets(batch: &RecordBatch) -> Vec<i64> {
        batch.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn owner_is_notified_once_until_it_has_taken() {
        let inbox = inbox();
        let is_told = || inbox.ready.notified().now_or_never().is_some();
        inbox.add(records(0..2));
        assert!(is_told());
        inbox.add(records(2..4));
        assert!(!is_told());
        assert_eq!(offsets(&inbox.take(3, 1_000)), [0, 1, 2]);
        assert_eq!(offsets(&inbox.take(3, 1_000)), [3]);
        inbox.add(records(4..5));
        assert!(is_told());
    }

    #[test]
    fn a_record_larger_than_the_limit_is_taken_alone() {
        let inbox = inbox();
        inbox.add(records(0..3));
        assert_eq!(offsets(&inbox.take(10, 1)), [0]);
        assert_eq!(offsets(&inbox.take(10, 20)), [1, 2]);
    }

    #[test]
    fn a_held_inbox_has_room_when_half_is_taken() {
        let inbox = inbox();
        inbox.add(records(0..5));
        assert_eq!(inbox.room(50), Room::Free);
        inbox.add(records(5..10));
        assert_eq!(inbox.room(50), Room::Full);
        inbox.hold();
        inbox.take(4, 1_000);
        assert_eq!(inbox.room(50), Room::Held, "a few taken records are not enough");
        inbox.take(4, 1_000);
        assert_eq!(inbox.room(50), Room::Freed);
        assert_eq!(inbox.room(50), Room::Free);
    }

    #[test]
    fn a_partition_that_the_engine_paused_expects_no_records_when_it_has_room() {
        let inbox = inbox();
        inbox.ends(20);
        inbox.add(records(0..10));
        inbox.hold();
        inbox.set_paused(true);
        inbox.take(10, 1_000);
        assert_eq!(inbox.room(50), Room::Freed);
        assert!(!inbox.expects_records());
        inbox.set_paused(false);
        assert!(inbox.expects_records());
    }

    #[test]
    fn fetching_again_begins_with_the_first_waiting_record() {
        let inbox = inbox();
        inbox.add(records(0..5));
        inbox.take(2, 1_000);
        assert_eq!(inbox.begin_refetch(5), 2);
        inbox.add(records(7..8));
        inbox.set_paused(true);
        assert!(!inbox.sought(false), "the engine's pause continues");
        assert!(inbox.take(10, 1_000).is_empty(), "records after a gap are dropped");
        assert_eq!(inbox.begin_refetch(2), 2);
        assert!(inbox.sought(true), "the engine's own seek ends its pause");
    }

    #[test]
    fn nothing_from_before_a_seek_is_seen() {
        let inbox = inbox();
        inbox.add(records(0..5));
        inbox.begin_seek(2);
        inbox.begin_seek(2);
        inbox.add(records(5..6));
        inbox.sought(true);
        inbox.add(records(6..7));
        assert!(inbox.take(10, 1_000).is_empty(), "a second seek is pending");
        inbox.sought(true);
        inbox.add(records(2..3));
        assert_eq!(offsets(&inbox.take(10, 1_000)), [2]);
    }

    #[test]
    fn a_closed_inbox_is_empty() {
        let inbox = inbox();
        inbox.add(records(0..5));
        inbox.close();
        inbox.add(records(5..6));
        assert!(inbox.take(10, 1_000).is_empty());
    }
}
