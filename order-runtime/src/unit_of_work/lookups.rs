//! How long an event has waited for the store: time that is not its processor's; and look-ups that get no answer.

use std::{sync::Arc, time::Duration};

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
    failure: Option<LookupFailure>,
}

/// Why a look-up gets no answer, and never will while things are as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LookupFailure {
    /// The row is there and cannot be read: somebody has to mend it.
    Unreadable(Arc<str>),
    /// The store does not keep entities of this type, since the program does not declare it.
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

    /// What has failed, and what to do.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Unreadable(why) => why.to_string(),
            Self::Undeclared(entity) => {
                format!("the program does not declare {entity} as an entity; add it to `dispatcher!`: `entities = […]`")
            }
        }
    }
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

    /// A look-up of the event gets no answer: the attempt is to be dropped.
    pub(crate) fn fail(&self, failure: LookupFailure) {
        self.0.lock().failure.get_or_insert(failure);
    }

    /// Why the attempt is to be dropped, where it is.
    pub(crate) fn take_failure(&self) -> Option<LookupFailure> {
        self.0.lock().failure.take()
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
