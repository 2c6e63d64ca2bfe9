//! The time that an event waits for the store, which does not count as its processor's, and look-ups that fail.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The look-ups of one event.
#[derive(Default)]
pub(crate) struct Lookups(Mutex<Waits>);

#[derive(Default)]
struct Waits {
    /// The start of the current wait.
    since: Option<Instant>,
    /// The sum of earlier waits.
    total: Duration,
    failure: Option<LookupFailure>,
}

/// Why a look-up fails, and will fail again until an operator or a developer acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LookupFailure {
    /// The row exists but cannot be read: an operator must repair it.
    Unreadable(Arc<str>),
    /// The store does not keep entities of this type, because the program does not declare it.
    Undeclared(&'static str),
}

impl LookupFailure {
    /// The code of the failure.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "row_unreadable",
            Self::Undeclared(_) => "entity_not_declared",
        }
    }

    /// The cause of the failure, and the remedy.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Unreadable(why) => why.to_string(),
            Self::Undeclared(entity) => {
                format!("the program does not declare {entity} as an entity; write `#[entity(table = \"…\")]` above it")
            }
        }
    }
}

impl Lookups {
    /// Starts a wait of the event, unless it waits already.
    pub(crate) fn begin(&self) {
        self.0.lock().since.get_or_insert_with(Instant::now);
    }

    /// Ends the wait of the event.
    pub(crate) fn end(&self) {
        let mut waits = self.0.lock();
        if let Some(since) = waits.since.take() {
            waits.total += since.elapsed();
        }
    }

    /// Notes that a look-up of the event has failed, so that the attempt is dropped.
    pub(crate) fn fail(&self, failure: LookupFailure) {
        self.0.lock().failure.get_or_insert(failure);
    }

    /// Takes the reason to drop the attempt, if there is one.
    pub(crate) fn take_failure(&self) -> Option<LookupFailure> {
        self.0.lock().failure.take()
    }

    /// How long the event has waited since the last call.
    pub(crate) fn take(&self) -> Duration {
        let mut waits = self.0.lock();
        let now = Instant::now();
        let current = waits.since.as_mut().map(|since| now.duration_since(std::mem::replace(since, now)));
        std::mem::take(&mut waits.total) + current.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use crate::unit_of_work::lookups::*;

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
