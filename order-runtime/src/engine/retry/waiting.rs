//! Queues that wait: keys whose first event failed, runs on or is held, and the later events of the key behind it.
//!
//! This is the memory of what the store holds as waiting rows. It changes only after a commit, by the partition's owner
//! task, so it never says more than the store does.

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

/// Waiting events of a partition may take this much memory before it takes no more records.
const TOTAL_BYTES: usize = 16 * 1024 * 1024;
/// The same for the events of one key.
const QUEUE_LIMIT: usize = 10_000;

/// The name of a queue: events of one queue are handled one after the other.
pub(crate) type QueueId = Box<[u8]>;

/// Writes the queue of a record into `queue`: its key, or for a record without one a queue of its own.
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

/// The Kafka key of a queue; none for that of a record without one.
pub(crate) fn key_of(queue: &[u8]) -> Option<&[u8]> {
    queue.strip_prefix(&[1])
}

/// An event that waits.
#[derive(Debug, Clone)]
pub(crate) struct Waiter {
    pub(crate) row: Arc<WaitingRow>,
    /// Its record, as a batch of one.
    pub(crate) records: Arc<RecordBatch>,
    /// When it is due, by a clock that does not jump.
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

/// All queues of a partition that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queues: HashMap<QueueId, VecDeque<Waiter>, RandomState>,
    due: BTreeSet<(Instant, QueueId)>,
    /// Since when the first event of each queue waits, and how many queues that is true of.
    since: BTreeMap<Timestamp, usize>,
    /// The longest that any event waits for its next attempt.
    longest: Duration,
    events: usize,
    bytes: usize,
    held: usize,
    /// Queues that hold [`QUEUE_LIMIT`] events or more.
    long: usize,
}

impl Waiting {
    /// What the store holds at an assignment. Nothing of it runs in this process yet, so what was running is due.
    ///
    /// `longest` is the longest delay that any processor's policy knows. Who would have to wait for longer was written before the
    /// wall clock jumped back, here or between two machines, and is due: to wait again in each life of a process that its event
    /// ends would look like life.
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

    /// Whether events of this queue have to wait.
    pub(crate) fn holds(&self, queue: &[u8]) -> bool {
        !self.queues.is_empty() && self.queues.contains_key(queue)
    }

    /// The events of a queue, first one first.
    pub(crate) fn queue(&self, queue: &[u8]) -> impl Iterator<Item = &Waiter> {
        self.queues.get(queue).into_iter().flatten()
    }

    /// The queues whose first event is due, longest due first.
    pub(crate) fn due(&self) -> Vec<QueueId> {
        let now = Instant::now();
        self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, queue)| queue.clone()).collect()
    }

    /// The queue that is due first, where its time has come.
    pub(crate) fn first_due(&self) -> Option<QueueId> {
        let now = Instant::now();
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, queue)| queue.clone())
    }

    /// The queue whose first event has this offset, where it is not under way.
    pub(crate) fn queue_of_first(&self, offset: i64) -> Option<QueueId> {
        let is_it = |queue: &VecDeque<Waiter>| {
            queue.front().is_some_and(|first| first.row.offset == offset && first.row.state != WaitingState::Running)
        };
        self.queues.iter().find(|(_, queue)| is_it(queue)).map(|(name, _)| name.clone())
    }

    /// Whether an attempt at one of the events of this queue up to `last` may be under way, or be due: not where the first one
    /// waits for a later time or for an operator.
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

    /// The queues at which an attempt may be under way or be due, each with the offset of its last event.
    pub(crate) fn that_may_run(&self) -> Vec<(QueueId, i64)> {
        let lasts = self.queues.iter().filter_map(|(name, queue)| Some((name, queue.back()?.row.offset)));
        lasts.filter(|(name, last)| self.may_run(name, *last)).map(|(name, last)| (name.clone(), last)).collect()
    }

    /// Whether the event at this offset waits.
    pub(crate) fn has(&self, offset: i64) -> bool {
        self.queues.values().flatten().any(|waiter| waiter.row.offset == offset)
    }

    /// Whether every waiting event lies before this offset.
    pub(crate) fn is_below(&self, offset: i64) -> bool {
        self.queues.values().filter_map(VecDeque::back).all(|last| last.row.offset < offset)
    }

    /// When the next queue is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Since when the queue waits that has waited longest; none where no queue waits.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.since.first_key_value().map(|(since, _)| *since)
    }

    /// The number of queues.
    pub(crate) fn queues(&self) -> usize {
        self.queues.len()
    }

    /// The number of events.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// Why no more records should come, where there is a reason. Attempts go on, so that it passes by itself unless an
    /// operator holds all of it.
    pub(crate) fn full(&self) -> Option<String> {
        if self.bytes < TOTAL_BYTES && self.long == 0 {
            return None;
        }
        let held = self.held();
        let what = if self.long > 0 {
            format!("a key has {QUEUE_LIMIT} waiting events or more")
        } else {
            format!("{} events wait, with {} bytes", self.events, self.bytes)
        };
        Some(if held == 0 {
            format!("{what}; attempts go on")
        } else {
            format!("{what}; {held} keys are held until `waiting retry` or `waiting dead-letter` releases them")
        })
    }

    /// The queues that only an operator releases.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The event that stops the whole partition, where there is one that is not released.
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

    /// The queues whose first event is not under way and whose name fits.
    pub(crate) fn select(&self, fits: impl Fn(&[u8]) -> bool) -> Vec<QueueId> {
        let waits =
            |queue: &VecDeque<Waiter>| queue.front().is_some_and(|waiter| waiter.row.state != WaitingState::Running);
        self.queues.iter().filter(|(name, queue)| fits(name) && waits(queue)).map(|(name, _)| name.clone()).collect()
    }

    /// Makes a queue that is due wait for longer; the store need not know, since another owner may try it at once.
    pub(crate) fn postpone(&mut self, queue: &[u8], delay: Duration) {
        let due = Instant::now() + delay.min(self.longest);
        self.change(queue, |events| {
            if let Some(first) = events.front_mut() {
                first.due = due;
            }
            Delta::default()
        });
    }

    /// Adds an event, or replaces the state of one that waits already.
    pub(crate) fn insert(&mut self, row: WaitingRow, now: Timestamp) {
        let queue: QueueId = row.queue.clone().into();
        let delay = match row.state {
            WaitingState::Retry => Duration::try_from(row.due.duration_since(now)).unwrap_or_default(),
            // What is behind and becomes the first need not wait any longer.
            WaitingState::Behind | WaitingState::Running | WaitingState::Held(_) => Duration::ZERO,
        };
        let waiter = Waiter::new(row, Instant::now() + delay.min(self.longest));
        self.change(&queue, |events| {
            let mut delta = Delta { come: 1, bytes_come: waiter.size(), ..Delta::default() };
            // New events come at the end, so the search is short where it matters.
            match events.iter().rposition(|known| known.row.offset <= waiter.row.offset) {
                Some(place) if events[place].row.offset == waiter.row.offset => {
                    delta.gone = 1;
                    delta.bytes_gone = events[place].size();
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
            Delta { gone: 1, bytes_gone: removed.map_or(0, |waiter| waiter.size()), ..Delta::default() }
        });
    }

    /// Changes a queue and keeps the counts and the order of due queues right.
    fn change(&mut self, name: &[u8], work: impl FnOnce(&mut VecDeque<Waiter>) -> Delta) {
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
        self.events = self.events + delta.come - delta.gone;
        self.bytes = self.bytes + delta.bytes_come - delta.bytes_gone;
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

/// What a change has done to the counts.
#[derive(Default)]
struct Delta {
    come: usize,
    bytes_come: usize,
    gone: usize,
    bytes_gone: usize,
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

    /// Nothing waits yet, at second 0.
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
        assert_eq!(waiting.next_due(), Some(start), "what was behind is due at once");
        waiting.remove(b"a", 7);
        waiting.remove(b"b", 6);
        assert_eq!((waiting.queues(), waiting.events(), waiting.bytes, waiting.next_due()), (0, 0, 0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_makes_nobody_wait_for_long() {
        let mut waiting = waiting();
        waiting.insert(row(b"a", 1, WaitingState::Retry, 5_000), at(0));
        assert_eq!(waiting.next_due(), Some(Instant::now() + Duration::from_secs(100)));
        waiting.insert(row(b"a", 1, WaitingState::Retry, 5_000), at(9_000));
        assert_eq!(waiting.next_due(), Some(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_later_clock_has_written_is_due_at_an_assignment() {
        let rows = vec![row(b"a", 1, WaitingState::Retry, 50), row(b"b", 2, WaitingState::Retry, 5_000)];
        let waiting = Waiting::assigned(rows, at(0), Duration::from_secs(100));
        assert_eq!(waiting.first_due(), Some(b"b".as_slice().into()));
        assert_eq!(waiting.due().len(), 1, "the other one waits for its time");
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
        assert_eq!(waiting.oldest(), Some(at(15)), "what was behind came later");
        waiting.remove(b"b", 3);
        assert_eq!(waiting.oldest(), Some(at(15)), "another key waits since then too");
        waiting.remove(b"c", 4);
        waiting.remove(b"a", 2);
        assert_eq!((waiting.oldest(), waiting.since.len()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn rows_come_in_any_order_and_stand_by_offset() {
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
    fn a_key_with_too_many_events_is_full_until_some_are_gone() {
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
    async fn what_ran_in_another_process_is_due_here() {
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
