//! Waiting key queues: keys whose first event failed, still runs or is held, with the later events of the key behind it.
//!
//! They mirror the waiting rows of the store in memory. Only the partition owner changes them, and only after a commit, so they
//! never contain more than the store does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    model::{Headers, OnExhausted, RecordBatch, RecordRef},
    store::{WaitingRow, WaitingState},
};

/// The memory limit for the waiting events of a partition. At the limit, the partition takes no more records.
const TOTAL_BYTES: usize = 16 * 1024 * 1024;
/// The limit for the number of waiting events of one key. At the limit, the partition takes no more records.
const QUEUE_LIMIT: usize = 10_000;

/// The name of a key queue. Events of one key queue are handled one after another.
pub(crate) type QueueId = Box<[u8]>;

/// Writes the name of a record's key queue into `queue`. A record without a key gets a key queue of its own.
pub(crate) fn queue_of(record: &RecordRef<'_>, queue: &mut Vec<u8>) {
    queue.clear();
    match record.key {
        Some(key) => {
            queue.push(1);
            queue.extend_from_slice(key);
        }
        None => {
            queue.push(0);
            queue.extend_from_slice(&record.offset.to_be_bytes());
        }
    }
}

/// The Kafka key of a key queue; `None` for the queue of a record without a key.
pub(crate) fn key_of(queue: &[u8]) -> Option<&[u8]> {
    queue.strip_prefix(&[1])
}

/// A waiting event.
#[derive(Debug, Clone)]
pub(crate) struct Waiter {
    pub(crate) row: Arc<WaitingRow>,
    /// Its record, as a batch of one.
    pub(crate) records: Arc<RecordBatch>,
    /// When it is due, on the monotonic clock.
    due: Instant,
}

impl Waiter {
    fn new(row: WaitingRow, due: Instant) -> Self {
        let mut records = RecordBatch::default();
        records.push(
            row.offset,
            row.timestamp,
            row.key.as_deref(),
            row.payload.as_deref(),
            Headers::decode(&row.headers),
        );
        Self { row: Arc::new(row), records: Arc::new(records), due }
    }

    fn size(&self) -> usize {
        self.records.size() + size_of::<WaitingRow>()
    }
}

/// The waiting events of one key, in order.
type KeyQueue = VecDeque<Waiter>;

/// All waiting key queues of a partition.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queues: HashMap<QueueId, KeyQueue, RandomState>,
    due: BTreeSet<(Instant, QueueId)>,
    /// The times since which the first events of the key queues wait, each with the number of its key queues.
    since: BTreeMap<Timestamp, usize>,
    /// The maximum delay before the next attempt of any event.
    longest: Duration,
    events: usize,
    bytes: usize,
    held: usize,
    /// The number of key queues with [`QUEUE_LIMIT`] events or more.
    long: usize,
}

impl Waiting {
    /// The waiting key queues at an assignment, built from the store's rows. No attempt runs in this process yet, so events whose
    /// state is `Running` are due at once.
    ///
    /// `longest` is the longest delay of any processor's policy. A retry that would have to wait for longer was written
    /// before the wall clock jumped back, or by a machine whose clock is ahead; it is due at once. If its event waited again
    /// after each restart of a process that the event kills, that process would look healthy.
    pub(crate) fn assigned(rows: Vec<WaitingRow>, now: Timestamp, longest: Duration) -> Self {
        let mut waiting = Self { longest, ..Self::default() };
        for mut row in rows {
            let is_beyond = || Duration::try_from(row.due.duration_since(now)).is_ok_and(|delay| delay > longest);
            if row.state == WaitingState::Running || (row.state == WaitingState::Retry && is_beyond()) {
                row.state = WaitingState::Retry;
                row.due = now;
            }
            waiting.insert(row, now);
        }
        waiting
    }

    /// Whether a new event of this key queue must wait.
    pub(crate) fn holds(&self, queue: &[u8]) -> bool {
        !self.queues.is_empty() && self.queues.contains_key(queue)
    }

    /// The events of a key queue, in order.
    pub(crate) fn queue(&self, queue: &[u8]) -> impl Iterator<Item = &Waiter> {
        self.queues.get(queue).into_iter().flatten()
    }

    /// The key queues whose first event is due, the longest due first.
    pub(crate) fn due(&self) -> Vec<QueueId> {
        let now = Instant::now();
        self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, queue)| queue.clone()).collect()
    }

    /// The key queue that is the longest due; `None` if no key queue is due.
    pub(crate) fn first_due(&self) -> Option<QueueId> {
        let now = Instant::now();
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, queue)| queue.clone())
    }

    /// The key queue whose first event has this offset; `None` if there is none or its attempt is running.
    pub(crate) fn queue_of_first(&self, offset: i64) -> Option<QueueId> {
        let is_it = |queue: &KeyQueue| {
            queue.front().is_some_and(|first| first.row.offset == offset && first.row.state != WaitingState::Running)
        };
        self.queues.iter().find(|(_, queue)| is_it(queue)).map(|(name, _)| name.clone())
    }

    /// Whether an attempt at an event of this key queue up to the offset `last` may be running or due. It is not if the first
    /// event waits for a later time or for an operator.
    pub(crate) fn may_run(&self, queue: &[u8], last: i64) -> bool {
        self.queue(queue).next().is_some_and(|first| {
            first.row.offset <= last
                && match first.row.state {
                    WaitingState::Running => true,
                    WaitingState::Retry | WaitingState::Behind => first.due <= Instant::now(),
                    WaitingState::Held(_) => false,
                }
        })
    }

    /// The key queues with an attempt that may be running or due, each with the offset of its last event.
    pub(crate) fn that_may_run(&self) -> Vec<(QueueId, i64)> {
        let lasts = self.queues.iter().filter_map(|(name, queue)| Some((name, queue.back()?.row.offset)));
        lasts.filter(|(name, last)| self.may_run(name, *last)).map(|(name, last)| (name.clone(), last)).collect()
    }

    /// Whether the event at this offset waits.
    pub(crate) fn has(&self, offset: i64) -> bool {
        self.queues.values().flatten().any(|waiter| waiter.row.offset == offset)
    }

    /// Whether every waiting event has a lower offset than this one.
    pub(crate) fn is_below(&self, offset: i64) -> bool {
        self.queues.values().filter_map(VecDeque::back).all(|last| last.row.offset < offset)
    }

    /// When the next key queue is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The time since which the oldest key queue waits; `None` if none waits.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.since.first_key_value().map(|(since, _)| *since)
    }

    /// The number of waiting key queues.
    pub(crate) fn queues(&self) -> usize {
        self.queues.len()
    }

    /// The number of waiting events.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// Why the partition takes no more records; `None` if it takes them. Attempts go on, so the limit resolves by itself
    /// unless all waiting key queues are held for an operator.
    pub(crate) fn full(&self) -> Option<String> {
        if self.bytes < TOTAL_BYTES && self.long == 0 {
            return None;
        }
        let held = self.held();
        let what = if self.long > 0 {
            format!("a key has {QUEUE_LIMIT} waiting events or more")
        } else {
            format!("{} events wait ({} bytes)", self.events, self.bytes)
        };
        Some(if held == 0 {
            format!("{what}; attempts go on")
        } else {
            format!("{what}; {held} keys are held until `waiting retry` or `waiting dead-letter` releases them")
        })
    }

    /// The number of key queues that only an operator can release.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The unreleased event that stops the whole partition, if there is one.
    pub(crate) fn stopped_by(&self, is_released: impl Fn(i64) -> bool) -> Option<&WaitingRow> {
        if self.held == 0 {
            return None;
        }
        self.queues
            .values()
            .filter_map(|queue| queue.front())
            .map(|waiter| &*waiter.row)
            .find(|row| row.state == WaitingState::Held(OnExhausted::Stop) && !is_released(row.offset))
    }

    /// The key queues whose name matches and whose first event has no running attempt.
    pub(crate) fn select(&self, fits: impl Fn(&[u8]) -> bool) -> Vec<QueueId> {
        let waits = |queue: &KeyQueue| queue.front().is_some_and(|waiter| waiter.row.state != WaitingState::Running);
        self.queues.iter().filter(|(name, queue)| fits(name) && waits(queue)).map(|(name, _)| name.clone()).collect()
    }

    /// Delays a due key queue. The store is not updated, because a new owner may try the key queue at once.
    pub(crate) fn postpone(&mut self, queue: &[u8], delay: Duration) {
        let due = Instant::now() + delay.min(self.longest);
        self.change(queue, |events| {
            if let Some(first) = events.front_mut() {
                first.due = due;
            }
            Delta::default()
        });
    }

    /// Adds a waiting event, or replaces the one with the same offset.
    pub(crate) fn insert(&mut self, row: WaitingRow, now: Timestamp) {
        let queue: QueueId = row.queue.clone().into();
        let delay = match row.state {
            WaitingState::Retry => Duration::try_from(row.due.duration_since(now)).unwrap_or_default(),
            // An event that was behind is due as soon as it becomes the first.
            WaitingState::Behind | WaitingState::Running | WaitingState::Held(_) => Duration::ZERO,
        };
        let waiter = Waiter::new(row, Instant::now() + delay.min(self.longest));
        self.change(&queue, |events| {
            let mut delta = Delta { added: 1, bytes_added: waiter.size(), ..Delta::default() };
            // New events belong at the end, so a search from the back is short.
            match events.iter().rposition(|known| known.row.offset <= waiter.row.offset) {
                Some(place) if events[place].row.offset == waiter.row.offset => {
                    delta.removed = 1;
                    delta.bytes_removed = events[place].size();
                    events[place] = waiter;
                }
                Some(place) => events.insert(place + 1, waiter),
                None => events.push_front(waiter),
            }
            delta
        });
    }

    /// Removes an event that has been settled.
    pub(crate) fn remove(&mut self, queue: &[u8], offset: i64) {
        self.change(queue, |events| {
            let Some(place) = events.iter().position(|waiter| waiter.row.offset == offset) else {
                return Delta::default();
            };
            let removed = events.remove(place);
            Delta { removed: 1, bytes_removed: removed.map_or(0, |waiter| waiter.size()), ..Delta::default() }
        });
    }

    /// Changes a key queue, and updates the counts and the order of due key queues.
    fn change(&mut self, name: &[u8], work: impl FnOnce(&mut KeyQueue) -> Delta) {
        let mut queue = self.queues.remove(name).unwrap_or_default();
        if let Some(first) = queue.front() {
            if let Entry::Occupied(mut queues) = self.since.entry(first.row.since) {
                *queues.get_mut() -= 1;
                if *queues.get() == 0 {
                    queues.remove();
                }
            }
            match first.row.state {
                WaitingState::Retry | WaitingState::Behind => {
                    self.due.remove(&(first.due, name.into()));
                }
                WaitingState::Running => {}
                WaitingState::Held(_) => self.held -= 1,
            }
        }
        let was_long = queue.len() >= QUEUE_LIMIT;
        let delta = work(&mut queue);
        self.long = self.long + usize::from(queue.len() >= QUEUE_LIMIT) - usize::from(was_long);
        self.events = self.events + delta.added - delta.removed;
        self.bytes = self.bytes + delta.bytes_added - delta.bytes_removed;
        let Some(first) = queue.front() else { return };
        *self.since.entry(first.row.since).or_default() += 1;
        match first.row.state {
            WaitingState::Retry | WaitingState::Behind => {
                self.due.insert((first.due, name.into()));
            }
            WaitingState::Running => {}
            WaitingState::Held(_) => self.held += 1,
        }
        self.queues.insert(name.into(), queue);
    }
}

/// The effect of a change on the counts.
#[derive(Default)]
struct Delta {
    added: usize,
    bytes_added: usize,
    removed: usize,
    bytes_removed: usize,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::engine::retry::waiting::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn row(queue: &[u8], offset: i64, state: WaitingState, due: u64) -> WaitingRow {
        WaitingRow {
            offset,
            queue: queue.to_vec(),
            state,
            attempts: 0,
            since: at(1),
            first_failed_at: None,
            due: at(due),
            error_code: String::new(),
            error_message: String::new(),
            key: Some(queue.to_vec()),
            payload: Some(vec![b'x'; 10]),
            headers: Vec::new(),
            timestamp: None,
        }
    }

    /// No waiting events, at second 0.
    fn waiting() -> Waiting {
        Waiting::assigned(Vec::new(), at(0), Duration::from_secs(100))
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_due_by_its_first_event() {
        let mut waiting = waiting();
        let start = Instant::now();
        waiting.insert(row(b"a", 5, WaitingState::Retry, 50), at(0));
        waiting.insert(row(b"a", 7, WaitingState::Behind, 0), at(0));
        waiting.insert(row(b"b", 6, WaitingState::Retry, 20), at(0));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(waiting.due(), [QueueId::from(&b"b"[..])]);
        assert_eq!(waiting.next_due(), Some(start + Duration::from_secs(20)));
        assert!(waiting.holds(b"a") && !waiting.holds(b"c"));

        waiting.remove(b"a", 5);
        assert_eq!(waiting.next_due(), Some(start), "the event behind is due at once");
        waiting.remove(b"a", 7);
        waiting.remove(b"b", 6);
        assert_eq!((waiting.queues(), waiting.events(), waiting.bytes, waiting.next_due()), (0, 0, 0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_jump_delays_no_event_beyond_the_longest_delay() {
        let mut waiting = waiting();
        waiting.insert(row(b"a", 1, WaitingState::Retry, 5_000), at(0));
        assert_eq!(waiting.next_due(), Some(Instant::now() + Duration::from_secs(100)));
        waiting.insert(row(b"a", 1, WaitingState::Retry, 5_000), at(9_000));
        assert_eq!(waiting.next_due(), Some(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_written_by_a_later_clock_is_due_at_an_assignment() {
        let rows = vec![row(b"a", 1, WaitingState::Retry, 50), row(b"b", 2, WaitingState::Retry, 5_000)];
        let waiting = Waiting::assigned(rows, at(0), Duration::from_secs(100));
        assert_eq!(waiting.first_due(), Some(b"b".as_slice().into()));
        assert_eq!(waiting.due().len(), 1, "the other event waits until it is due");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_queue_is_known_by_its_first_event() {
        let mut waiting = waiting();
        assert_eq!(waiting.oldest(), None);
        let since = |offset, seconds| WaitingRow { since: at(seconds), ..row(b"a", offset, WaitingState::Behind, 0) };
        waiting.insert(since(1, 10), at(0));
        waiting.insert(since(2, 20), at(0));
        waiting.insert(WaitingRow { since: at(15), ..row(b"b", 3, WaitingState::Retry, 50) }, at(0));
        waiting.insert(WaitingRow { since: at(15), ..row(b"c", 4, WaitingState::Retry, 50) }, at(0));
        waiting.postpone(b"a", Duration::from_secs(9));
        assert_eq!(waiting.oldest(), Some(at(10)));
        waiting.remove(b"a", 1);
        assert_eq!(waiting.oldest(), Some(at(15)), "the event behind arrived later");
        waiting.remove(b"b", 3);
        assert_eq!(waiting.oldest(), Some(at(15)), "another key has waited since then, too");
        waiting.remove(b"c", 4);
        waiting.remove(b"a", 2);
        assert_eq!((waiting.oldest(), waiting.since.len()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn rows_inserted_in_any_order_are_sorted_by_offset() {
        let mut waiting = waiting();
        for offset in [9, 3, 6] {
            waiting.insert(row(b"a", offset, WaitingState::Behind, 0), at(0));
        }
        waiting.insert(row(b"a", 3, WaitingState::Retry, 70), at(0));
        let offsets: Vec<_> = waiting.queue(b"a").map(|waiter| waiter.row.offset).collect();
        assert_eq!(offsets, [3, 6, 9]);
        assert_eq!((waiting.events(), waiting.next_due()), (3, Some(Instant::now() + Duration::from_secs(70))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_postponed_queue_is_due_later() {
        let mut waiting = waiting();
        waiting.insert(row(b"a", 1, WaitingState::Retry, 0), at(0));
        assert_eq!(waiting.due().len(), 1);
        waiting.postpone(b"a", Duration::from_secs(3));
        assert_eq!(waiting.next_due(), Some(Instant::now() + Duration::from_secs(3)));
    }

    #[test]
    fn a_key_with_too_many_events_is_full_until_some_are_removed() {
        let mut waiting = waiting();
        let last = i64::try_from(QUEUE_LIMIT).expect("a small number");
        for offset in 0..last {
            assert_eq!(waiting.full(), None, "{offset}");
            waiting.insert(row(b"a", offset, WaitingState::Behind, 0), at(0));
        }
        assert!(waiting.full().is_some_and(|why| why.contains("attempts go on")));
        waiting.insert(row(b"a", 0, WaitingState::Held(OnExhausted::ParkKey), 0), at(0));
        assert!(waiting.full().is_some_and(|why| why.contains("1 keys are held")));
        waiting.remove(b"a", 0);
        assert_eq!((waiting.full(), waiting.events()), (None, QUEUE_LIMIT - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_ran_in_another_process_is_due_at_an_assignment() {
        let rows = vec![row(b"a", 1, WaitingState::Running, 99)];
        assert_eq!(Waiting::assigned(rows, at(10), Duration::from_secs(100)).due().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_event_stops_its_partition_until_it_is_released() {
        let mut waiting = waiting();
        waiting.insert(row(b"a", 1, WaitingState::Held(OnExhausted::Stop), 0), at(0));
        waiting.insert(row(b"b", 2, WaitingState::Held(OnExhausted::ParkKey), 0), at(0));
        assert_eq!(waiting.stopped_by(|_| false).map(|row| row.offset), Some(1));
        assert_eq!((waiting.held(), waiting.next_due()), (2, None));
        assert_eq!(waiting.stopped_by(|offset| offset == 1), None);
        waiting.insert(row(b"a", 1, WaitingState::Retry, 0), at(0));
        assert_eq!(waiting.stopped_by(|_| false), None);
        assert_eq!((waiting.held(), waiting.due().len(), waiting.first_due()), (1, 1, Some(b"a"[..].into())));
    }
}
