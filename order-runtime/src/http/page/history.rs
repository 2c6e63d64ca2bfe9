//! The data of the curves: the last minutes, with one point per second.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::Serialize;

use crate::{engine::observe::StatsView, telemetry::metrics::Distribution};

/// Number of points that are kept: five minutes.
pub(super) const POINTS: usize = 300;

/// The point of one second. Rates are per second, ages in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Point {
    /// The end of the second, in seconds of the Unix epoch.
    at: f64,
    /// Records taken from Kafka.
    consumed: f64,
    /// Events handled.
    ok: f64,
    /// Events dead-lettered.
    dead_lettered: f64,
    /// Retries: attempts after the first one.
    retried: f64,
    /// The median age of records at their commit; `None` without records.
    p50: Option<f64>,
    /// The 99th percentile of the age of records at their commit.
    p99: Option<f64>,
    /// Records that are not consumed yet.
    lag: Option<u64>,
    /// Waiting events.
    waiting: u64,
}

/// The counters at one moment.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) at: Timestamp,
    pub(super) stats: StatsView,
    /// The ages of records at their commit, in seconds.
    pub(super) ages: Distribution,
}

/// The points, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    last: Option<Reading>,
    points: VecDeque<Point>,
}

impl History {
    /// Adds a point for the time since the last reading; `None` for the first reading.
    pub(super) fn add(&mut self, now: &Reading) -> Option<Point> {
        let before = self.last.replace(now.clone())?;
        // If the clock was set back, there is no valid rate.
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |of: fn(&StatsView) -> u64| per_second(of(&now.stats).saturating_sub(of(&before.stats)), seconds);
        let ages = now.ages.since(&before.ages);
        let point = Point {
            at: seconds_of_epoch(now.at),
            consumed: rate(|stats| stats.consumed),
            ok: rate(|stats| stats.ok),
            dead_lettered: rate(|stats| stats.dead_lettered),
            retried: rate(|stats| stats.retried),
            p50: ages.quantile(0.5).map(milliseconds),
            p99: ages.quantile(0.99).map(milliseconds),
            lag: now.stats.lag,
            waiting: now.stats.waiting,
        };
        self.points.push_back(point);
        if self.points.len() > POINTS {
            self.points.pop_front();
        }
        Some(point)
    }

    pub(super) fn points(&self) -> &VecDeque<Point> {
        &self.points
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown, not computed with")]
fn per_second(count: u64, seconds: f64) -> f64 {
    tenths(count as f64 / seconds)
}

fn milliseconds(seconds: f64) -> f64 {
    tenths(seconds * 1000.0)
}

/// Rounds to tenths, because more digits would only make messages larger.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have 41 bits")]
fn seconds_of_epoch(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn reading(second: i64, consumed: u64) -> Reading {
        let at = Timestamp::UNIX_EPOCH + second.seconds();
        Reading {
            at,
            stats: StatsView { consumed, lag: Some(7), ..StatsView::default() },
            ages: Distribution::default(),
        }
    }

    #[test]
    fn a_point_covers_the_time_since_the_last_one() {
        let mut history = History::default();
        assert_eq!(history.add(&reading(10, 500)), None, "the time before the first reading has no rate");
        let point = history.add(&reading(12, 620)).expect("a second point");
        assert_eq!((point.at, point.consumed, point.lag, point.p99), (12.0, 60.0, Some(7), None));
    }

    #[test]
    fn the_oldest_points_are_dropped() {
        let mut history = History::default();
        for second in 0..400 {
            history.add(&reading(second, 0));
        }
        let ends = history.points().front().zip(history.points().back()).map(|(first, last)| (first.at, last.at));
        assert_eq!((history.points().len(), ends), (POINTS, Some((100.0, 399.0))));
    }

    #[test]
    fn a_clock_that_is_set_back_gives_finite_numbers() {
        let mut history = History::default();
        history.add(&reading(10, 5));
        assert!(history.add(&reading(9, 6)).is_some_and(|point| point.consumed.is_finite()));
    }
}
