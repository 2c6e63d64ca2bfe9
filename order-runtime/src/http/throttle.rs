//! Throttles log lines that any client can cause.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// At most one line is logged in this time.
const PERIOD: Duration = Duration::from_mins(1);

/// Lets one log line per minute pass, and counts the suppressed lines.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    last: Option<Instant>,
    lines: u64,
}

impl LogThrottle {
    /// `Some` if a line may be written now, with the number of lines suppressed since the last one.
    pub(super) fn pass(&self) -> Option<u64> {
        let mut held = self.0.lock();
        if held.last.is_some_and(|last| last.elapsed() < PERIOD) {
            held.lines += 1;
            return None;
        }
        held.last = Some(Instant::now());
        Some(std::mem::take(&mut held.lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_minute_passes_and_the_others_are_counted() {
        let throttle = LogThrottle::default();
        assert_eq!([throttle.pass(), throttle.pass(), throttle.pass()], [Some(0), None, None]);
        tokio::time::advance(PERIOD).await;
        assert_eq!([throttle.pass(), throttle.pass()], [Some(2), None]);
    }
}
