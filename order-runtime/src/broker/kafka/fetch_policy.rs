//! Decides which partitions are fetched: backpressure, fairness, and the repair of fetching that has stalled.
//!
//! 1. All inboxes share [`CAPACITY`] equally. An inbox with more than its share is full.
//! 2. While an inbox is full, nothing is taken of any partition: a partition owner usually empties its inbox soon.
//! 3. That lasts 20 ms; 100 ms if no other partition is busy; 250 ms if most inboxes are more than half full.
//! 4. After that, the records of the full partition alone are left to librdkafka, until half of its inbox is free.
//! 5. Every 3 s, if a partition starves while others bring records, those others are paused until all have had their turn.
//! 6. A partition that gets nothing even though the others are paused is not helped again before it brings records.
//! 7. A partition that has more records and brings none for 30 s is refetched; then after 2 s, 4 s, and so on up to 10 min.
//! 8. No records are expected of a partition that the engine has stopped, or whose records are withheld by rule 4 or 5.
//!
//! Backpressure does not pause: a pause drops records that are fetched already, and if all partitions are paused, librdkafka
//! checks them only once a second. Fairness is needed because librdkafka requests all partitions in the same order after its
//! queue was full, and the broker fills its response from the first ones. Fetching stalls without an error if, for example,
//! librdkafka has taken a wrong offset from a batch with a wrong checksum.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

/// The capacity of all inboxes together, in bytes. With twice as much, and all partition owners busy, the process takes 67 MiB
/// instead of 47, for a few per cent of speed.
const CAPACITY: usize = 4 * 1024 * 1024;
/// The smallest share of one inbox in bytes. A larger record is accepted nevertheless.
const LEAST_SHARE: usize = 256 * 1024;
/// How long nothing is taken because an inbox is full. After this time, a slower partition does not hold up the others.
const FULL: Duration = Duration::from_millis(20);
/// The same if no other partition is busy, so that none is held up. If the records were left to librdkafka, they would wait for
/// the fetch response of the other partitions, which the broker holds back while those have no records: a hot partition ran at a
/// third of its speed.
const FULL_ALONE: Duration = Duration::from_millis(100);
/// The same if most inboxes are more than half full. All partitions wait for the store then, and this limit keeps memory small.
const MOST_FULL: Duration = Duration::from_millis(250);
/// A partition counts as busy for this long after it has brought records.
const BUSY: Duration = Duration::from_millis(100);
/// The interval between checks of fairness. A pause drops the records that are fetched already, so it must not be short.
const TURN: Duration = Duration::from_secs(3);
/// How long a partition with more records may bring nothing. A fetch over a slow connection takes time, and a refetch would
/// discard it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same after a refetch; doubled each time that it did not help.
const PATIENCE_AFTERWARDS: Duration = Duration::from_secs(2);
/// The longest patience.
const LONGEST_PATIENCE: Duration = Duration::from_mins(10);
/// The time until the next decision, if nothing happens before.
const NEXT: Duration = Duration::from_millis(20);
/// The same while an inbox has too little space.
const NEXT_IF_FULL: Duration = Duration::from_millis(2);

/// Why the poll thread withholds the records of a partition from its inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withheld {
    /// The inbox is full: further records are left to librdkafka.
    Full,
    /// The partition is paused, so that others get their turn.
    Paused,
}

/// The state of one partition at a decision.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FetchView {
    /// The size of the records in its inbox.
    pub(super) bytes: usize,
    /// Whether its inbox has no record.
    pub(super) is_empty: bool,
    /// Whether its log has records that have not arrived, and a broker is connected.
    pub(super) has_more: bool,
    /// Whether the engine has paused it, or a seek is not done yet.
    pub(super) is_stopped: bool,
    pub(super) withheld: Option<Withheld>,
    /// When it last brought records.
    pub(super) arrived: Option<Instant>,
}

/// An action on one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchAction {
    /// Leave its records to librdkafka: they are withheld as [`Withheld::Full`].
    Hold,
    /// Take its records again.
    Release,
    /// Pause it in favour of others: its records are withheld as [`Withheld::Paused`].
    Pause,
    /// End that pause.
    Resume,
    /// Fetch again from the first record that the engine has not taken.
    Refetch,
}

/// What the poll thread does until the next decision.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FetchDecision {
    /// At most one action for each partition, by its place.
    pub(super) actions: BTreeMap<usize, FetchAction>,
    /// Whether arrived records are taken.
    pub(super) take: bool,
    /// The time until the next decision at the latest.
    pub(super) next: Duration,
}

/// The policy, with what it remembers of earlier decisions.
pub(super) struct FetchPolicy {
    /// In the order of the views.
    partitions: Vec<Remembered>,
    /// When fairness was last checked.
    turned: Instant,
}

/// What the policy remembers of a partition.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    /// Since when its inbox has been full without being held.
    full_since: Option<Instant>,
    /// Whether it was starving at the last check of fairness.
    starved: bool,
    /// Whether pausing the others has not helped it. The cause is another one then.
    helpless: bool,
    /// Since when expected records have not arrived, or not since the last refetch.
    waits_since: Instant,
    /// How long it may wait before it is refetched.
    patience: Duration,
    /// Since when expected records have not arrived, whatever refetches there were.
    silent_since: Option<Instant>,
}

impl FetchView {
    /// Whether the next records are expected to arrive.
    pub(super) fn expects_records(&self) -> bool {
        self.has_more && !self.is_stopped && self.withheld.is_none()
    }
}

impl Remembered {
    fn new(now: Instant) -> Self {
        Self {
            full_since: None,
            starved: false,
            helpless: false,
            waits_since: now,
            patience: PATIENCE,
            silent_since: None,
        }
    }
}

impl FetchPolicy {
    /// The policy for no partitions.
    pub(super) fn new(now: Instant) -> Self {
        Self { partitions: Vec::new(), turned: now }
    }

    /// Notes a new assignment: for each partition, its former place if it had one.
    pub(super) fn reassign(&mut self, former: &[Option<usize>], now: Instant) {
        let remembered = |place: &Option<usize>| place.and_then(|place| self.partitions.get(place).copied());
        self.partitions =
            former.iter().map(|place| remembered(place).unwrap_or_else(|| Remembered::new(now))).collect();
    }

    /// Notes that a partition is refetched, by this policy's decision or after an error.
    pub(super) fn refetched(&mut self, place: usize, now: Instant) {
        let Some(partition) = self.partitions.get_mut(place) else { return };
        let patience = if partition.patience == PATIENCE { PATIENCE_AFTERWARDS } else { partition.patience * 2 };
        partition.patience = patience.min(LONGEST_PATIENCE);
        partition.waits_since = now;
    }

    /// Since when a partition has brought nothing although records were expected of it at the last decision.
    pub(super) fn silent_since(&self, place: usize) -> Option<Instant> {
        self.partitions.get(place)?.silent_since
    }

    /// Decides for all partitions, in the order of the assignment.
    pub(super) fn decide(&mut self, views: &[FetchView], now: Instant) -> FetchDecision {
        debug_assert_eq!(views.len(), self.partitions.len(), "each partition has a view");
        let mut decision = FetchDecision { actions: BTreeMap::new(), take: true, next: NEXT };
        self.apply_backpressure(views, now, &mut decision);
        self.check_fairness(views, now, &mut decision);
        self.find_stalls(views, now, &mut decision);
        decision
    }

    fn apply_backpressure(&mut self, views: &[FetchView], now: Instant, decision: &mut FetchDecision) {
        let share = (CAPACITY / views.len().max(1)).max(LEAST_SHARE);
        let half_full = views.iter().filter(|view| view.bytes > share / 2).count();
        let busy = views.iter().filter(|view| view.arrived.is_some_and(|arrived| now - arrived < BUSY)).count();
        let limit = match half_full {
            most if most * 2 > views.len() => MOST_FULL,
            _ if busy <= 1 => FULL_ALONE,
            _ => FULL,
        };
        for (place, (partition, view)) in self.partitions.iter_mut().zip(views).enumerate() {
            match view.withheld {
                Some(Withheld::Full) if view.bytes <= share / 2 => {
                    decision.actions.insert(place, FetchAction::Release);
                }
                Some(Withheld::Full) => decision.next = NEXT_IF_FULL,
                None if view.bytes > share => {
                    decision.next = NEXT_IF_FULL;
                    if now - *partition.full_since.get_or_insert(now) < limit {
                        decision.take = false;
                        continue;
                    }
                    decision.actions.insert(place, FetchAction::Hold);
                }
                None | Some(Withheld::Paused) => {}
            }
            partition.full_since = None;
        }
    }

    fn check_fairness(&mut self, views: &[FetchView], now: Instant, decision: &mut FetchDecision) {
        if now - self.turned < TURN {
            return;
        }
        let last = std::mem::replace(&mut self.turned, now);
        let is_paused = |view: &FetchView| view.withheld == Some(Withheld::Paused);
        let is_served = |view: &FetchView| view.arrived.is_some_and(|arrived| arrived >= last);
        let some_paused = views.iter().any(is_paused);
        let some_served = views.iter().any(|view| is_served(view) && !is_paused(view));
        let mut starves = false;
        for (partition, view) in self.partitions.iter_mut().zip(views) {
            let starved = view.expects_records() && view.is_empty && !is_served(view);
            // A partition that starves for the first time may have received its record just now.
            starves |= starved && partition.starved && !partition.helpless;
            partition.helpless = !is_served(view) && (partition.helpless || (starved && some_paused && !some_served));
            partition.starved = starved;
        }
        let make_way = starves && some_served;
        for (place, view) in views.iter().enumerate() {
            let action = match view.withheld {
                Some(Withheld::Paused) if !make_way => FetchAction::Resume,
                None if make_way && is_served(view) && !view.is_stopped => FetchAction::Pause,
                _ => continue,
            };
            // A full partition is held already.
            decision.actions.entry(place).or_insert(action);
        }
    }

    fn find_stalls(&mut self, views: &[FetchView], now: Instant, decision: &mut FetchDecision) {
        for (place, (partition, view)) in self.partitions.iter_mut().zip(views).enumerate() {
            if let Some(arrived) = view.arrived.filter(|arrived| *arrived > partition.waits_since) {
                *partition = Remembered { waits_since: arrived, patience: PATIENCE, silent_since: None, ..*partition };
            }
            if !view.expects_records() {
                partition.waits_since = now;
                partition.silent_since = None;
                continue;
            }
            partition.silent_since.get_or_insert(partition.waits_since);
            if now - partition.waits_since > partition.patience {
                decision.actions.entry(place).or_insert(FetchAction::Refetch);
            }
        }
    }
}
