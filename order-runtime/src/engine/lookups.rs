//! How long an event has waited for the store: time that is not its processor's.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The look-ups of one event.
#[derive(Default)]
pub(crate) struct Lookups(Mutex<Waits>);

#[derive(Default)]
struct Waits {
    /// Since when it waits now.
    since: Option<Instant>,
    /// Earlier waits.
    total: Duration,
}

impl Lookups {
    /// The event waits from now on, unless it does already.
    pub(crate) fn begin(&self) {
        self.0.lock().since.get_or_insert_with(Instant::now);
    }

    /// The event has what it has waited for.
    pub(crate) fn end(&self) {
        let mut waits = self.0.lock();
        if let Some(since) = waits.since.take() {
            waits.total += since.elapsed();
        }
    }

    /// How long the event has waited since this was last asked.
    pub(crate) fn take(&self) -> Duration {
        let mut waits = self.0.lock();
        let now = Instant::now();
        let current = waits.since.as_mut().map(|since| now.duration_since(std::mem::replace(since, now)));
        std::mem::take(&mut waits.total) + current.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_counts_once() {
        let lookups = Lookups::default();
        lookups.begin();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(lookups.take(), Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(1)).await;
        lookups.end();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!((lookups.take(), lookups.take()), (Duration::from_secs(1), Duration::ZERO));
    }
}
