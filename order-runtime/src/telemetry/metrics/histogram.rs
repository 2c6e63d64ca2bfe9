//! A histogram of fixed buckets that records many equal values at once.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds for durations, in seconds: those of the OpenTelemetry conventions for messaging, and smaller ones, because
/// most events need no more than some microseconds.
pub(crate) const SECONDS: &[f64] = &[
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05,
    0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Upper bounds for ages, in seconds.
pub(crate) const AGES: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 3_600.0, 86_400.0];
/// Upper bounds for numbers of events.
pub(crate) const COUNTS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];

/// Counts of values by bucket, and their sum. Readers may see a value in its bucket before it is in the sum.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One more than there are bounds; the last counts the values beyond all bounds.
    counts: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

/// A histogram as it was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Distribution {
    pub(crate) bounds: &'static [f64],
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::default()).collect(), sum: AtomicU64::default() }
    }

    pub(crate) fn observe(&self, value: f64) {
        self.observe_many(value, 1);
    }

    /// Records the same value `times` times.
    pub(crate) fn observe_many(&self, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        let class = self.bounds.partition_point(|bound| *bound < value);
        self.counts[class].fetch_add(times, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a sum is shown, not computed with")]
        let more = value * times as f64;
        let add = |bits| Some((f64::from_bits(bits) + more).to_bits());
        // `add` always returns a new value, so the update does not fail.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    pub(crate) fn read(&self) -> Distribution {
        Distribution {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)),
        }
    }
}

impl Distribution {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of two histograms of the same buckets; one without buckets adds nothing.
    pub(crate) fn and(mut self, other: Self) -> Self {
        if self.bounds.is_empty() {
            return other;
        }
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum += other.sum;
        self
    }

    /// The values that were recorded since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(&earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        since.sum -= earlier.sum;
        since
    }

    /// The value that this share of all values, from 0 to 1, does not exceed; `None` if there are no values.
    ///
    /// Values are assumed to be spread evenly within a bucket. Beyond the last bound the result is that bound.
    #[expect(clippy::cast_precision_loss, reason = "a quantile of buckets is an estimate")]
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = share * total as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, upper) in self.counts.iter().zip(self.bounds) {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (wanted - below).max(0.0) / count * (upper - lower));
            }
            below += count;
            lower = *upper;
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        histogram.observe(1.0);
        histogram.observe_many(1.5, 3);
        histogram.observe(9.0);
        let read = histogram.read();
        assert_eq!((read.counts.as_slice(), read.count()), (&[1, 3, 1][..], 5));
        assert!((read.sum - 14.5).abs() < 1e-9, "{read:?}");
    }

    #[test]
    fn quantiles_lie_within_the_bucket_of_the_value() {
        let histogram = Histogram::new(&[1.0, 2.0, 4.0]);
        assert_eq!(histogram.read().quantile(0.5), None);
        histogram.observe_many(0.5, 8);
        histogram.observe_many(3.0, 2);
        let read = histogram.read();
        assert_eq!((read.quantile(0.4), read.quantile(0.9), read.quantile(1.0)), (Some(0.5), Some(3.0), Some(4.0)));
        histogram.observe(9.0);
        assert_eq!(histogram.read().since(&read).quantile(0.5), Some(4.0), "beyond the last bound it is that bound");
        let twice = Distribution::default().and(read.clone()).and(read.clone());
        assert_eq!((twice.count(), twice.quantile(0.9)), (20, read.quantile(0.9)));
    }
}
