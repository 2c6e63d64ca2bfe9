//! The inbox of a partition: its records wait here between the poll thread and the partition owner.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use parking_lot::Mutex;

use tokio::{sync::Notify, time::Instant};

use super::{
    fetch_policy::{FetchView, Withheld},
    progress::InboxProgress,
    statistics::FetchProgress,
};
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
    /// Why the poll thread withholds its records.
    withheld: Option<Withheld>,
    progress: InboxProgress,
    /// When records last arrived.
    arrived: Option<Instant>,
}

impl State {
    fn empty(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    /// Whether no record may arrive, whatever the poll thread does.
    fn is_stopped(&self) -> bool {
        self.paused || self.closed || self.seeking > 0
    }

    fn is_fetched(&self) -> bool {
        !self.is_stopped() && self.withheld.is_none()
    }

    fn first_offset(&self) -> Option<i64> {
        self.batches.front().and_then(|first| first.get(0)).map(|record| record.offset)
    }
}

impl Inbox {
    pub(super) fn new(id: PartitionId, log_end: i64, start: Option<i64>, ready: Arc<Notify>) -> Arc<Self> {
        let mut progress = InboxProgress::new(start);
        progress.raise_end(log_end);
        let state = State {
            batches: VecDeque::new(),
            bytes: 0,
            seeking: 0,
            closed: false,
            paused: start.is_none(),
            withheld: None,
            progress,
            arrived: None,
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
            state.progress.received(last.offset + 1);
            state.arrived = Some(Instant::now());
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
            state.progress.took(last.offset + 1, some_left);
        }
        first
    }

    /// The present state, for the policy. Whether a broker is connected is not known here.
    pub(super) fn view(&self) -> FetchView {
        let state = self.state.lock();
        FetchView {
            bytes: state.bytes,
            is_empty: state.batches.is_empty(),
            has_more: state.progress.has_more(),
            is_stopped: state.is_stopped(),
            withheld: state.withheld,
            arrived: state.arrived,
        }
    }

    /// Notes that the poll thread withholds the records. Returns false, and notes nothing, if it must not pause the partition,
    /// because fetching was stopped meanwhile.
    pub(super) fn withhold(&self, why: Withheld) -> bool {
        let mut state = self.state.lock();
        if why == Withheld::Paused && !state.is_fetched() {
            return false;
        }
        state.withheld = Some(why);
        state.progress.interrupt();
        true
    }

    /// Notes that the poll thread no longer withholds the records. Returns whether a pause was ended that the engine does not
    /// want.
    pub(super) fn stop_withholding(&self) -> bool {
        let mut state = self.state.lock();
        state.withheld.take() == Some(Withheld::Paused) && !state.is_stopped()
    }

    /// Whether further records are left to librdkafka.
    pub(super) fn is_held(&self) -> bool {
        self.state.lock().withheld == Some(Withheld::Full)
    }

    /// Whether no fetch reports the end of the log.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state.lock();
        !state.is_fetched() || state.arrived.is_none_or(|arrived| arrived.elapsed() > QUIET)
    }

    /// Sets since when expected records have not arrived.
    pub(super) fn set_silent(&self, since: Option<Instant>) {
        self.state.lock().progress.silent_since = since;
    }

    /// Notes the fetch progress that librdkafka reports.
    pub(super) fn fetched(&self, fetch: FetchProgress) {
        let mut state = self.state.lock();
        state.progress.raise_end(fetch.stable_end);
        if state.is_fetched() {
            state.progress.fetched(fetch.position);
            state.progress.waits_for_transaction(fetch.waits_for_transaction);
        }
    }

    /// Notes the end of the log, from the answer to a request.
    pub(super) fn ends(&self, end: i64) {
        self.log_end(Some(end));
        self.state.lock().progress.raise_end(end);
    }

    /// How records arrive.
    pub(super) fn inbox_status(&self) -> InboxStatus {
        let state = self.state.lock();
        InboxStatus {
            log_end: self.log_end(None),
            taken: state.progress.taken,
            next: state.progress.next(state.first_offset()),
            ready_since: state.progress.ready_since,
            silent_since: state.progress.silent_since,
            transaction_since: state.progress.transaction_since,
        }
    }

    /// Drops everything, to continue at `offset`. Nothing is added or taken until [`sought`](Self::sought).
    pub(super) fn begin_seek(&self, offset: i64) {
        let mut state = self.state.lock();
        state.empty();
        state.seeking += 1;
        state.progress.restart(offset);
    }

    /// Like [`begin_seek`](Self::begin_seek), to repair fetching. Returns the offset to continue at: that of the first waiting
    /// record, or `next` if there is none.
    pub(super) fn begin_refetch(&self, next: i64) -> i64 {
        let mut state = self.state.lock();
        let from = state.first_offset().unwrap_or(next);
        state.empty();
        state.seeking += 1;
        state.progress.refetch_from(from);
        from
    }

    /// Notes that one seek is done. Returns whether the partition must be fetched now: a seek of the engine ends the engine's
    /// pause, another one does not.
    pub(super) fn sought(&self, by_engine: bool) -> bool {
        let mut state = self.state.lock();
        state.seeking = state.seeking.saturating_sub(1);
        state.paused &= !by_engine;
        state.withheld = None;
        !state.paused
    }

    /// Notes that the engine pauses or resumes the partition.
    pub(super) fn set_paused(&self, paused: bool) {
        let mut state = self.state.lock();
        state.paused = paused;
        if state.withheld == Some(Withheld::Paused) {
            state.withheld = None;
        }
        state.progress.interrupt();
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

/// Lets the poll thread wait until a partition owner takes records.
#[derive(Default)]
pub(super) struct TakeSignal {
    is_awaited: AtomicBool,
    thread: OnceLock<Thread>,
}

impl TakeSignal {
    /// Waits until records are taken, at most for `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        self.thread.get_or_init(thread::current);
        self.is_awaited.store(true, Ordering::Release);
        // Records that were taken just before this are noticed after the time limit.
        thread::park_timeout(limit);
        self.is_awaited.store(false, Ordering::Relaxed);
    }

    /// Wakes the poll thread, because records were taken.
    pub(super) fn notify(&self) {
        if self.is_awaited.load(Ordering::Relaxed)
            && self.is_awaited.swap(false, Ordering::Acquire)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
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
    fn an_inbox_withholds_records_until_its_poll_thread_or_a_seek_ends_that() {
        let inbox = inbox();
        inbox.ends(20);
        let is_withheld = || inbox.view().withheld;
        assert!(inbox.withhold(Withheld::Full));
        inbox.set_paused(true);
        assert_eq!(is_withheld(), Some(Withheld::Full), "the engine's pause does not change what the inbox holds");
        assert!(!inbox.stop_withholding(), "nothing is to be resumed");
        assert!(!inbox.withhold(Withheld::Paused), "the engine has paused it already");
        inbox.set_paused(false);
        assert!(inbox.withhold(Withheld::Paused));
        assert!(inbox.stop_withholding());
        assert!(inbox.withhold(Withheld::Paused));
        inbox.set_paused(true);
        assert_eq!(is_withheld(), None, "only the engine can resume it now");
        assert!(inbox.withhold(Withheld::Full));
        inbox.begin_seek(2);
        assert!(inbox.sought(true));
        assert_eq!(is_withheld(), None);
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
