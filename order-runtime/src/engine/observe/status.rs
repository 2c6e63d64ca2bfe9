//! The engine's counters and the state of its partitions, written by the partition owners and read by HTTP.

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

use super::{PartitionState, ProcessorCounters, StatsView, progress::Progress};
use crate::{
    engine::outbox::OutboxState,
    model::{PartitionId, Reason},
};

/// The counts of one committed batch.
#[derive(Debug, Default, Clone)]
pub(crate) struct BatchCounters {
    pub(crate) consumed: u64,
    pub(crate) ok: u64,
    pub(crate) skipped: u64,
    /// Dead letters by [`Reason`].
    pub(crate) letters: [u64; Reason::ALL.len()],
    pub(crate) retried: u64,
    /// By processor; empty until one of them is counted.
    pub(crate) processors: Vec<ProcessorCounters>,
}

impl BatchCounters {
    pub(crate) fn processor(&mut self, index: usize) -> &mut ProcessorCounters {
        if self.processors.len() <= index {
            self.processors.resize(index + 1, ProcessorCounters::default());
        }
        &mut self.processors[index]
    }

    pub(crate) fn dead_lettered(&self) -> u64 {
        self.letters.iter().sum()
    }

    /// The events that reached no processor: skipped repeats, and dead letters without a call.
    pub(crate) fn unplaced(&self) -> [u64; 2] {
        let (skipped, dead_lettered) = self.processors.iter().fold((0, 0), |(skipped, dead_lettered), counters| {
            (skipped + counters.skipped, dead_lettered + counters.dead_lettered)
        });
        [self.skipped.saturating_sub(skipped), self.dead_lettered().saturating_sub(dead_lettered)]
    }
}

/// By topic and number, so that lists are in this order.
type Partitions = BTreeMap<(Arc<str>, i32), Arc<PartitionStatus>>;

/// The state of the engine that operators see.
#[derive(Debug)]
pub(crate) struct Status {
    consumed: AtomicU64,
    ok: AtomicU64,
    skipped: AtomicU64,
    dead_lettered: AtomicU64,
    retried: AtomicU64,
    processors: Mutex<Vec<ProcessorCounters>>,
    rate: Mutex<Rate>,
    partitions: Mutex<Partitions>,
    /// Set by the first assignment, even an empty one.
    pub(crate) assigned: AtomicBool,
    /// An operator has paused consumption.
    pub(crate) paused: AtomicBool,
    /// The service is draining.
    pub(crate) stopping: AtomicBool,
    /// The last error of the store, and since when assigned partitions wait for their positions from it.
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
            processors: Mutex::new(vec![ProcessorCounters::default(); processors]),
            rate: Mutex::default(),
            partitions: Mutex::default(),
            assigned: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            beginning: Mutex::default(),
            outbox,
        }
    }

    /// Adds the counts of a batch; called after its commit.
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
        for (sum, counters) in self.processors.lock().iter_mut().zip(&counters.processors) {
            sum.add(*counters);
        }
    }

    pub(crate) fn processors(&self) -> Vec<ProcessorCounters> {
        self.processors.lock().clone()
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

    /// Records a reading of the counter and returns the rate since the oldest reading within the window.
    fn measure(&mut self, now: Instant, count: u64) -> f64 {
        // Readings closer than a tenth of a second are not kept: they would only fill the window.
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
    /// Since when the longest waiting key has waited.
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
        counters.processor(1).ok += 2;
        status.add(&counters);
        status.add(&counters);
        assert_eq!(status.stats(None).consumed, 6);
        assert_eq!(status.processors()[1].ok, 4);
        assert_eq!(status.processors()[0].ok, 0);
    }
}
