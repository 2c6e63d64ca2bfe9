//! Counts over the played scenarios.

use std::{
    fmt,
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering},
};

use super::faults::Faults;

macro_rules! report {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts over the played scenarios.
        #[derive(Clone, Copy, Default)]
        pub(super) struct Report {
            $($(#[$doc])* pub(super) $name: u64,)*
        }

        impl AddAssign for Report {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Report {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let counts = [$((stringify!($name), self.$name),)*];
                for (index, (name, count)) in counts.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {count}", name.replace('_', " "))?;
                }
                Ok(())
            }
        }
    };
}

report! {
    events,
    dead_letters,
    members,
    /// Processes that ended for a reason other than their events.
    crashes,
    /// Processes that an event has ended.
    kills,
    freezes,
    rebalances,
    /// Steps after which a circuit breaker was open.
    outages,
    store_errors,
    store_outages,
    lost_answers,
    publish_errors,
    fenced,
    conflicts,
    /// Commits whose data the store has refused.
    refusals,
    releases_to_retry,
    releases_to_dead_letters,
    truncations,
    /// Records that logs lost.
    truncated_records,
    topics_deleted,
    topics_made_anew,
    members_without_the_second_topic,
}

impl Report {
    /// Adds the counts of `faults`.
    pub(super) fn with(self, faults: &Faults) -> Self {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            crashes: count(&faults.crashes),
            store_errors: count(&faults.store_errors),
            lost_answers: count(&faults.unknown_commits),
            publish_errors: count(&faults.publish_errors),
            fenced: count(&faults.fenced),
            conflicts: count(&faults.conflicts),
            refusals: count(&faults.refusals),
            releases_to_retry: count(&faults.retries_released),
            releases_to_dead_letters: count(&faults.letters_released),
            ..self
        }
    }
}
