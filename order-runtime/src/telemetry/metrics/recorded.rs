//! Metrics that are recorded while events are handled, batches committed and records published.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::histogram::{AGES, COUNTS, Distribution, Histogram, SECONDS};
use crate::model::Reason;

/// All recorded metrics. Locks are taken when a partition is assigned, a batch of records is published, or metrics are read.
#[derive(Debug)]
pub(crate) struct Metrics {
    processors: usize,
    topics: Mutex<BTreeMap<Arc<str>, Arc<TopicMetrics>>>,
    sends: Mutex<BTreeMap<(String, Option<&'static str>), Sends>>,
    /// By reason, in the order of [`Reason::ALL`].
    dead_letters: [AtomicU64; Reason::ALL.len()],
    /// Events whose id was known, and dead letters for which no processor was called. They have counters of their own, because
    /// the difference of two counters that are read one after the other may decrease.
    pub(crate) repeated: AtomicU64,
    pub(crate) unplaced_letters: AtomicU64,
    /// Partitions that were assigned, revoked, and lost.
    pub(crate) assigned: AtomicU64,
    pub(crate) revoked: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Offsets that Kafka deleted before they were handled.
    pub(crate) dropped_offsets: AtomicU64,
    /// Offsets that are handled again because the store was restored from an older copy.
    pub(crate) restored_offsets: AtomicU64,
    /// Connections and requests that HTTP refused, in the order of [`Refusal::ALL`].
    http_refused: [AtomicU64; Refusal::ALL.len()],
    pub(crate) commit_duration: Histogram,
    pub(crate) commit_events: Histogram,
    pub(crate) failed_commits: AtomicU64,
}

/// Why HTTP refuses a connection or a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many connections are open.
    Connections,
    /// A token is wrong.
    Token,
    /// Too many wrong tokens came from one address.
    Guessing,
    /// Too many request bodies or large responses are under way.
    Busy,
}

impl Refusal {
    pub(crate) const ALL: [Self; 4] = [Self::Connections, Self::Token, Self::Guessing, Self::Busy];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Token => "token",
            Self::Guessing => "guessing",
            Self::Busy => "busy",
        }
    }
}

/// Metrics of one consumed topic.
#[derive(Debug)]
pub(crate) struct TopicMetrics {
    pub(crate) consumed: AtomicU64,
    /// Records with a plausible timestamp, by their age when their batch was committed.
    pub(crate) age: Histogram,
    /// Records with an implausible timestamp.
    pub(crate) implausible_times: AtomicU64,
    /// By processor: attempts that succeeded, and attempts that failed.
    pub(crate) attempts: Vec<[Histogram; 2]>,
}

/// Records that were sent to a topic, with one result.
#[derive(Debug, Clone)]
pub(crate) struct Sends {
    pub(crate) records: u64,
    /// One value for each call, however many records it sent.
    pub(crate) duration: Arc<Histogram>,
}

/// How long the attempts of a batch took.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    /// The time in which all events were started, and those that did not wait finished.
    pub(crate) handling: Duration,
    /// Attempts that ended within `handling`, by processor: succeeded, failed. Each counts with an equal share of `handling`, so
    /// that no clock is read for an event.
    pub(crate) on_the_spot: Vec<[u64; 2]>,
    /// Attempts that waited: processor, whether it failed, and its own time.
    pub(crate) waited: Vec<(usize, bool, Duration)>,
}

impl Timing {
    /// Records the end of an attempt; `elapsed` is its own time if it has waited.
    pub(crate) fn ended(&mut self, processor: usize, failed: bool, elapsed: Option<Duration>) {
        if let Some(elapsed) = elapsed {
            self.waited.push((processor, failed, elapsed));
            return;
        }
        if self.on_the_spot.len() <= processor {
            self.on_the_spot.resize(processor + 1, [0; 2]);
        }
        self.on_the_spot[processor][usize::from(failed)] += 1;
    }
}

impl Metrics {
    /// Metrics for that number of processors.
    pub(crate) fn new(processors: usize) -> Arc<Self> {
        Arc::new(Self {
            processors,
            topics: Mutex::default(),
            sends: Mutex::default(),
            dead_letters: Default::default(),
            repeated: AtomicU64::default(),
            unplaced_letters: AtomicU64::default(),
            assigned: AtomicU64::default(),
            revoked: AtomicU64::default(),
            lost: AtomicU64::default(),
            dropped_offsets: AtomicU64::default(),
            restored_offsets: AtomicU64::default(),
            http_refused: Default::default(),
            commit_duration: Histogram::new(SECONDS),
            commit_events: Histogram::new(COUNTS),
            failed_commits: AtomicU64::default(),
        })
    }

    /// The metrics of a topic, in which the owners of its partitions record.
    pub(crate) fn topic(&self, topic: &Arc<str>) -> Arc<TopicMetrics> {
        let mut topics = self.topics.lock();
        Arc::clone(topics.entry(Arc::clone(topic)).or_insert_with(|| {
            Arc::new(TopicMetrics {
                consumed: AtomicU64::default(),
                age: Histogram::new(AGES),
                implausible_times: AtomicU64::default(),
                attempts: (0..self.processors).map(|_| [Histogram::new(SECONDS), Histogram::new(SECONDS)]).collect(),
            })
        }))
    }

    pub(crate) fn topics(&self) -> Vec<(Arc<str>, Arc<TopicMetrics>)> {
        self.topics.lock().iter().map(|(name, topic)| (Arc::clone(name), Arc::clone(topic))).collect()
    }

    /// Ages of the records of all topics at the commit of their batches.
    pub(crate) fn ages(&self) -> Distribution {
        self.topics().into_iter().fold(Distribution::default(), |ages, (_, topic)| ages.and(topic.age.read()))
    }

    /// The number of ended attempts of each processor, and their total time in seconds.
    pub(crate) fn attempts(&self) -> Vec<(u64, f64)> {
        let mut sums = vec![(0, 0.0); self.processors];
        for (_, topic) in self.topics() {
            for (sum, histograms) in sums.iter_mut().zip(&topic.attempts) {
                for read in histograms.iter().map(Histogram::read) {
                    *sum = (sum.0 + read.count(), sum.1 + read.sum);
                }
            }
        }
        sums
    }

    /// Records a committed batch: repeats, dead letters for which no processor was called, and all dead letters by [`Reason`].
    pub(crate) fn settled(&self, [repeated, unplaced]: [u64; 2], letters: &[u64; Reason::ALL.len()]) {
        self.repeated.fetch_add(repeated, Ordering::Relaxed);
        self.unplaced_letters.fetch_add(unplaced, Ordering::Relaxed);
        for (counter, count) in self.dead_letters.iter().zip(letters).filter(|(_, count)| **count > 0) {
            counter.fetch_add(*count, Ordering::Relaxed);
        }
    }

    pub(crate) fn dead_letters(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.dead_letters.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Records a call that sent `count` records to a topic with this result.
    pub(crate) fn sent(&self, topic: &str, error: Option<&'static str>, count: u64, elapsed: Duration) {
        let mut sends = self.sends.lock();
        let sends = sends
            .entry((topic.to_owned(), error))
            .or_insert_with(|| Sends { records: 0, duration: Arc::new(Histogram::new(SECONDS)) });
        sends.records += count;
        sends.duration.observe(elapsed.as_secs_f64());
    }

    pub(crate) fn sends(&self) -> Vec<((String, Option<&'static str>), Sends)> {
        self.sends.lock().iter().map(|(name, sends)| (name.clone(), sends.clone())).collect()
    }

    /// Records the end of a transaction of that number of events.
    #[expect(clippy::cast_precision_loss, reason = "no transaction has 2^52 events")]
    pub(crate) fn committed(&self, events: u64, succeeded: bool, elapsed: Duration) {
        self.commit_duration.observe(elapsed.as_secs_f64());
        if succeeded {
            self.commit_events.observe(events as f64);
        } else {
            self.failed_commits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that partitions were assigned.
    pub(crate) fn assigned(&self, partitions: usize) {
        self.assigned.fetch_add(partitions as u64, Ordering::Relaxed);
    }

    /// Records that partitions were revoked; `lost` if another member may have owned them already.
    pub(crate) fn revoked(&self, partitions: usize, lost: bool) {
        let counter = if lost { &self.lost } else { &self.revoked };
        counter.fetch_add(partitions as u64, Ordering::Relaxed);
    }

    /// Records that HTTP refused a connection or a request.
    pub(crate) fn refused(&self, why: Refusal) {
        self.http_refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of connections and requests that HTTP refused, by reason.
    pub(crate) fn http_refused(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().map(|why| (why, self.http_refused[why as usize].load(Ordering::Relaxed)))
    }

    /// Records offsets that are handled again because the store was restored from an older copy.
    pub(crate) fn restored(&self, offsets: u64) {
        self.restored_offsets.fetch_add(offsets, Ordering::Relaxed);
    }

    /// Records offsets that Kafka deleted before they were handled.
    pub(crate) fn dropped(&self, offsets: u64) {
        self.dropped_offsets.fetch_add(offsets, Ordering::Relaxed);
    }
}

impl TopicMetrics {
    /// Records a batch that was committed at `now`. `written` has the timestamps of its records; both in milliseconds of the Unix
    /// epoch.
    pub(crate) fn batch(&self, consumed: u64, timing: &Timing, now: i64, written: &[i64]) {
        self.consumed.fetch_add(consumed, Ordering::Relaxed);
        self.ages(now, written);
        let finished: u64 = timing.on_the_spot.iter().flatten().sum();
        #[expect(clippy::cast_precision_loss, reason = "a batch has some thousand events")]
        let share = timing.handling.as_secs_f64() / finished.max(1) as f64;
        for (histograms, counts) in self.attempts.iter().zip(&timing.on_the_spot) {
            for (histogram, count) in histograms.iter().zip(counts) {
                histogram.observe_many(share, *count);
            }
        }
        for (processor, failed, elapsed) in &timing.waited {
            if let Some(histograms) = self.attempts.get(*processor) {
                histograms[usize::from(*failed)].observe(elapsed.as_secs_f64());
            }
        }
    }

    /// Records the ages. Many records of a batch were written in the same millisecond, so equal ages are counted together.
    fn ages(&self, now: i64, written: &[i64]) {
        for equal in written.chunk_by(|a, b| a == b) {
            let records = equal.len() as u64;
            match age(now, equal[0]) {
                Some(age) => self.age.observe_many(age.as_secs_f64(), records),
                None => {
                    self.implausible_times.fetch_add(records, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The first second of 2011, the year of Kafka's first release: no record is older.
/// Times in seconds are before it, and so is 0.
const OLDEST: i64 = 1_293_840_000_000;
/// How far a producer's clock may be ahead, in milliseconds: Kafka's default for `message.timestamp.after.max.ms`. Times in
/// microseconds or nanoseconds are beyond it.
const AHEAD: i64 = 3_600_000;

/// The age at `now` of a record written at `written`, both in milliseconds of the Unix epoch; `None` if that is implausible.
fn age(now: i64, written: i64) -> Option<Duration> {
    let is_plausible = written >= OLDEST && written <= now.saturating_add(AHEAD);
    is_plausible.then(|| Duration::from_millis(u64::try_from(now.saturating_sub(written)).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_do_not_wait_share_the_time_of_their_batch() {
        let topic = Metrics::new(2).topic(&Arc::from("things"));
        let mut timing = Timing { handling: Duration::from_millis(30), ..Timing::default() };
        for failed in [false, false, true] {
            timing.ended(1, failed, None);
        }
        timing.ended(0, false, Some(Duration::from_secs(2)));
        topic.batch(4, &timing, 0, &[]);
        let read = |processor: usize, failed: bool| topic.attempts[processor][usize::from(failed)].read();
        assert_eq!((read(1, false).count(), read(1, true).count(), read(0, false).count()), (2, 1, 1));
        assert!((read(1, false).sum - 0.020).abs() < 1e-9, "two of three thirds: {:?}", read(1, false));
        assert!((read(0, false).sum - 2.0).abs() < 1e-9, "its own time: {:?}", read(0, false));
    }

    #[test]
    fn implausible_times_have_no_age_and_are_counted() {
        let now = 1_790_000_000_000;
        let topic = Metrics::new(0).topic(&Arc::from("things"));
        topic.ages(now, &[now - 1_000, now - 1_000, now + 60_000]);
        // Zero, seconds, microseconds and nanoseconds of the same moment, and no time at all.
        topic.ages(now, &[0, now / 1_000, now * 1_000, now * 1_000_000, -1, -1, i64::MIN, i64::MAX]);
        let read = topic.age.read();
        assert_eq!((read.count(), read.counts[0]), (3, 1), "a timestamp slightly ahead counts as new: {read:?}");
        assert!((read.sum - 2.0).abs() < 1e-9, "{read:?}");
        assert!(read.quantile(0.99).is_some_and(|age| age <= 1.0), "{read:?}");
        assert_eq!(topic.implausible_times.load(Ordering::Relaxed), 8);
    }
}
