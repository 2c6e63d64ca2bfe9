//! Faults of the store, the broker and the process, and deliberate bugs.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    gate::Gate,
    scenario::{Dice, Weather},
};

/// A deliberate bug that the simulation must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The store accepts commits without comparing position and revision, and so those of a former owner.
    NoFencing,
    /// The store does not write deduplication windows.
    NoIdentity,
    /// The store loses waiting events.
    WaitingIsForgotten,
    /// The store loses the key queue of waiting events, so that they no longer hold back other events of their key.
    QueuesAreForgotten,
    /// The position moves past an event that has no outcome.
    PositionRunsAhead,
    /// A commit is acknowledged and not applied.
    CommitsAreDropped,
    /// A dead letter is acknowledged and not published.
    DeadLettersAreDropped,
    /// A release is answered and never reaches the partition owner.
    ReleasesAreLost,
    /// The store counts how often any event of the partition ran alone, instead of the suspected event.
    WrongEventIsBlamed,
    /// A commit of any event of a partition clears the deaths and suspects in the store.
    NeighboursClearSuspects,
    /// The store ignores that a position moves back after a truncation.
    JumpsAreNotRepeated,
    /// A later record of a key in the outbox overtakes an earlier one.
    LettersOvertake,
}

impl Bug {
    pub(super) const ALL: [Self; 12] = [
        Self::NoFencing,
        Self::NoIdentity,
        Self::WaitingIsForgotten,
        Self::QueuesAreForgotten,
        Self::PositionRunsAhead,
        Self::CommitsAreDropped,
        Self::DeadLettersAreDropped,
        Self::ReleasesAreLost,
        Self::WrongEventIsBlamed,
        Self::NeighboursClearSuspects,
        Self::JumpsAreNotRepeated,
        Self::LettersOvertake,
    ];

    /// The kind of trouble that is needed to find the bug.
    pub(super) fn needs(self) -> Option<&'static str> {
        match self {
            Self::ReleasesAreLost => Some("releases"),
            Self::WrongEventIsBlamed | Self::NeighboursClearSuspects => Some("deadly"),
            Self::JumpsAreNotRepeated => Some("truncations"),
            Self::LettersOvertake => Some("order"),
            _ => None,
        }
    }
}

/// Draws the next faults and counts them.
pub(super) struct Faults {
    dice: Mutex<Dice>,
    weather: Mutex<Weather>,
    pub(super) bug: Option<Bug>,
    /// Whether every call to the store fails.
    store_away: AtomicBool,
    pub(super) store_errors: AtomicU64,
    pub(super) unknown_commits: AtomicU64,
    pub(super) publish_errors: AtomicU64,
    pub(super) crashes: AtomicU64,
    pub(super) fenced: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) refusals: AtomicU64,
    pub(super) retries_released: AtomicU64,
    pub(super) letters_released: AtomicU64,
}

impl Faults {
    pub(super) fn new(seed: u64, weather: Weather, bug: Option<Bug>) -> Self {
        let count = || AtomicU64::new(0);
        Self {
            // Other numbers than those of the scenario.
            dice: Mutex::new(Dice::of(seed ^ 0x5eed_5eed_5eed_5eed)),
            weather: Mutex::new(weather),
            bug,
            store_away: AtomicBool::new(false),
            store_errors: count(),
            unknown_commits: count(),
            publish_errors: count(),
            crashes: count(),
            fenced: count(),
            conflicts: count(),
            refusals: count(),
            retries_released: count(),
            letters_released: count(),
        }
    }

    /// Removes all faults.
    pub(super) fn heal(&self) {
        *self.weather.lock() = Weather::default();
        self.set_store_away(false);
    }

    pub(super) fn set_store_away(&self, away: bool) {
        self.store_away.store(away, Ordering::Relaxed);
    }

    pub(super) fn store_is_away(&self) -> bool {
        self.store_away.load(Ordering::Relaxed)
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.dice.lock().below(end)
    }

    pub(super) fn in_thousand(&self, times: u64) -> bool {
        times > 0 && self.dice.lock().in_thousand(times)
    }

    pub(super) fn weather(&self) -> Weather {
        *self.weather.lock()
    }

    /// May end the process; waits until the gate is open.
    pub(super) async fn crash(&self, gate: &Gate) {
        if self.in_thousand(self.weather().crash) {
            self.crashes.fetch_add(1, Ordering::Relaxed);
            gate.crash();
        }
        gate.open().await;
    }

    pub(super) async fn delay_publish(&self) {
        if self.in_thousand(self.weather().publish_slow) {
            tokio::time::sleep(Duration::from_millis(self.below(300))).await;
        }
    }

    pub(super) fn publish_fails(&self) -> bool {
        let fails = self.in_thousand(self.weather().publish_fails);
        self.publish_errors.fetch_add(fails.into(), Ordering::Relaxed);
        fails
    }

    pub(super) fn publish_unknown(&self) -> bool {
        let unknown = self.in_thousand(self.weather().publish_unknown);
        self.publish_errors.fetch_add(unknown.into(), Ordering::Relaxed);
        unknown
    }
}
