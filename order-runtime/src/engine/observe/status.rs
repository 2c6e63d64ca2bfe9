//! The engine's counters and the state of its partitions, written by the owners, read by HTTP.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{PartitionState, ProcessorStats, StatsView, progress::Progress};
use crate::{
    engine::outbox::OutboxState,
    model::{PartitionId, Reason},
};

/// What one committed batch adds to the counters.
#[derive(Debug, Default, Clone)]
pub(crate) struct BatchCounters {
    pub(crate) consumed: u64,
    pub(crate) ok: u64,
    pub(crate) skipped: u64,
    /// Dead letters by [`Reason`].
    pub(crate) letters: [u64; Reason::ALL.len()],
    pub(crate) retried: u64,
    /// By processor: handled, dead-lettered, retried, skipped. Empty until one of them is counted.
    pub(crate) processors: Vec<[u64; 4]>,
}

impl BatchCounters {
    pub(crate) fn processor(&mut self, index: usize) -> &mut [u64; 4] {
        if self.processors.len() <= index {
            self.processors.resize(index + 1, [0; 4]);
        }
        &mut self.processors[index]
    }

    pub(crate) fn dead_lettered(&self) -> u64 {
        self.letters.iter().sum()
    }

    /// What came to no processor: repeats, and dead letters of events that none was called for.
    pub(crate) fn unplaced(&self) -> [u64; 2] {
        let of = |count: usize| self.processors.iter().map(|counts| counts[count]).sum::<u64>();
        [self.skipped.saturating_sub(of(3)), self.dead_lettered().saturating_sub(of(1))]
    }
}

/// By topic and number, so that a list of them is in order.
type Partitions = BTreeMap<(Arc<str>, i32), Arc<PartitionStatus>>;

/// Everything that is shown of the engine.
#[derive(Debug)]
pub(crate) struct Status {
    consumed: AtomicU64,
    ok: AtomicU64,
    skipped: AtomicU64,
    dead_lettered: AtomicU64,
    retried: AtomicU64,
    processors: Vec<[AtomicU64; 4]>,
    rate: Mutex<Rate>,
    partitions: Mutex<Partitions>,
    /// Set by the first assignment, also by an empty one.
    pub(crate) assigned: AtomicBool,
    /// An operator has paused consumption.
    pub(crate) paused: AtomicBool,
    /// The service is draining.
    pub(crate) stopping: AtomicBool,
    /// Since when assigned partitions wait for the store to say where they begin, with its last error.
    pub(crate) beginning: Mutex<Option<(Option<String>, Instant)>>,
    pub(crate) outbox: Arc<OutboxState>,
}

impl Status {
    pub(crate) fn new(processors: usize, outbox: Arc<OutboxState>) -> Self {
        Self {
            consumed: AtomicU64::default(),
            ok: AtomicU64::default(),
            skipped: AtomicU64::default(),
            dead_lettered: AtomicU64::default(),
            retried: AtomicU64::default(),
            processors: (0..processors).map(|_| Default::default()).collect(),
            rate: Mutex::default(),
            partitions: Mutex::default(),
            assigned: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            beginning: Mutex::default(),
            outbox,
        }
    }

    /// Adds what a batch has done; called once its transaction is committed.
    pub(crate) fn add(&self, counters: &BatchCounters) {
        let add = |counter: &AtomicU64, count: u64| {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        };
        add(&self.consumed, counters.consumed);
        add(&self.ok, counters.ok);
        add(&self.skipped, counters.skipped);
        add(&self.dead_lettered, counters.dead_lettered());
        add(&self.retried, counters.retried);
        for (counters, counts) in self.processors.iter().zip(&counters.processors) {
            for (counter, count) in counters.iter().zip(counts) {
                add(counter, *count);
            }
        }
    }

    pub(crate) fn processors(&self) -> Vec<ProcessorStats> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.processors
            .iter()
            .map(|[ok, dead_lettered, retried, skipped]| ProcessorStats {
                ok: read(ok),
                dead_lettered: read(dead_lettered),
                retried: read(retried),
                skipped: read(skipped),
            })
            .collect()
    }

    pub(crate) fn add_partition(&self, partition: Arc<PartitionStatus>) {
        let name = (Arc::clone(&partition.id.topic), partition.id.partition);
        self.partitions.lock().insert(name, partition);
    }

    pub(crate) fn remove_partition(&self, id: &PartitionId) {
        self.partitions.lock().remove(&(Arc::clone(&id.topic), id.partition));
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<PartitionStatus>> {
        self.partitions.lock().values().cloned().collect()
    }

    pub(crate) fn stats(&self, lag: Option<u64>) -> StatsView {
        let consumed = self.consumed.load(Ordering::Relaxed);
        StatsView {
            consumed,
            ok: self.ok.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            waiting: self.partitions().iter().map(|p| p.waiting_events.load(Ordering::Relaxed) as u64).sum(),
            dead_lettered: self.dead_lettered.load(Ordering::Relaxed),
            retried: self.retried.load(Ordering::Relaxed),
            unpublished: self.outbox.backlog(),
            per_second: self.rate.lock().measure(Instant::now(), consumed),
            lag,
        }
    }
}

/// Records per second over the last ten seconds.
#[derive(Debug, Default)]
struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    const WINDOW: Duration = Duration::from_secs(10);

    /// Notes a reading of the counter and answers the rate since the oldest reading within the window.
    fn measure(&mut self, now: Instant, count: u64) -> f64 {
        // Two readings within a tenth of a second would keep the window full of nothing.
        if self.samples.back().is_none_or(|(at, _)| now - *at >= Self::WINDOW / 100) {
            self.samples.push_back((now, count));
        }
        while self.samples.get(1).is_some_and(|(at, _)| now - *at > Self::WINDOW) {
            self.samples.pop_front();
        }
        let Some((since, base)) = self.samples.front() else { return 0.0 };
        let seconds = (now - *since).as_secs_f64();
        if seconds < 0.001 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown, not computed with")]
        let counted = (count - base) as f64;
        counted / seconds
    }
}

/// One assigned partition.
#[derive(Debug)]
pub(crate) struct PartitionStatus {
    pub(crate) id: Arc<PartitionId>,
    pub(crate) position: AtomicI64,
    pub(crate) waiting_keys: AtomicUsize,
    pub(crate) waiting_events: AtomicUsize,
    /// Since when the key waits that has waited longest.
    pub(crate) waiting_since: Mutex<Option<Timestamp>>,
    /// Offsets below this one were handled before the store was replaced by an older copy.
    pub(crate) restored_below: Option<i64>,
    state: Mutex<(PartitionState, Option<String>, Timestamp)>,
    pub(crate) progress: Progress,
}

impl PartitionStatus {
    pub(crate) fn new(id: Arc<PartitionId>, position: i64, now: Timestamp) -> Self {
        Self {
            id,
            position: AtomicI64::new(position),
            waiting_keys: AtomicUsize::default(),
            waiting_events: AtomicUsize::default(),
            waiting_since: Mutex::default(),
            restored_below: None,
            state: Mutex::new((PartitionState::Running, None, now)),
            progress: Progress::new(),
        }
    }

    pub(crate) fn set(&self, state: PartitionState, reason: Option<String>, now: Timestamp) {
        let mut known = self.state.lock();
        if known.0 != state {
            known.2 = now;
        }
        known.0 = state;
        known.1 = reason;
    }

    pub(crate) fn state(&self) -> (PartitionState, Option<String>, Timestamp) {
        self.state.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::observe::status::*;

    #[test]
    fn a_rate_covers_the_last_ten_seconds() {
        let mut rate = Rate::default();
        let start = Instant::now();
        assert!(rate.measure(start, 0).abs() < f64::EPSILON);
        for second in 1..=30 {
            rate.measure(start + Duration::from_secs(second), second * 100);
        }
        let now = rate.measure(start + Duration::from_secs(31), 3_100);
        assert!((now - 100.0).abs() < 1.0, "{now}");
        let later = rate.measure(start + Duration::from_mins(1), 3_100);
        assert!(later < 1.0, "{later}");
    }

    #[test]
    fn counters_add_up_by_processor() {
        let status = Status::new(2, Arc::default());
        let mut counters = BatchCounters { consumed: 3, ok: 2, ..BatchCounters::default() };
        counters.processor(1)[0] += 2;
        status.add(&counters);
        status.add(&counters);
        assert_eq!(status.stats(None).consumed, 6);
        assert_eq!(status.processors()[1].ok, 4);
        assert_eq!(status.processors()[0].ok, 0);
    }
}
