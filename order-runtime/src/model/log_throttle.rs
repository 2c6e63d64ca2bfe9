//! Throttles log lines that could repeat many times a second.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lets one log line per period pass, and counts the occurrences in between.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    period: Duration,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    last: Option<Instant>,
    occurrences: u64,
}

impl LogThrottle {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period, held: Mutex::default() }
    }

    /// Counts one occurrence. `Some` if its line may be written now, with the number of lines suppressed since the last one.
    pub(crate) fn pass(&self) -> Option<u64> {
        self.pass_many(1)
    }

    /// Counts occurrences, at least one. `Some` if a line may be written now, with the number of occurrences since the last line
    /// besides the one that it shows.
    pub(crate) fn pass_many(&self, occurrences: u64) -> Option<u64> {
        let now = Instant::now();
        let mut held = self.held.lock();
        held.occurrences += occurrences;
        if held.last.is_some_and(|last| now.duration_since(last) < self.period) {
            return None;
        }
        held.last = Some(now);
        Some(std::mem::take(&mut held.occurrences) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_a_period_passes_and_the_others_are_counted() {
        let period = Duration::from_mins(1);
        let throttle = LogThrottle::new(period);
        assert_eq!([throttle.pass(), throttle.pass(), throttle.pass()], [Some(0), None, None]);
        tokio::time::advance(period).await;
        assert_eq!([throttle.pass(), throttle.pass()], [Some(2), None]);
        assert_eq!(throttle.pass_many(5), None);
        tokio::time::advance(period).await;
        assert_eq!(throttle.pass_many(3), Some(8));
    }
}
