//! The circuit breaker: what happens when events of a processor fail because something outside is unavailable.
//!
//! What such events need is most likely unavailable for all of them, and spending their retries would make dead letters of good events.
//! So the breaker opens, for the processor and the error code: a few events a back-off are tried, the others wait in the store as if
//! their turn had not come, and failures with this code do not count as attempts. Events of other processors flow. It closes when tried
//! events succeed.
//!
//! Only failures that speak of something outside count: of class `unavailable`, and timeouts. A failure that depends on the event
//! itself never does, whoever sends many of them. Two things open the breaker:
//!
//! - many first attempts fail with one code ([`Breakers::observe`]). Events that fail again and again are those that have failed
//!   before, and say nothing new;
//! - where little comes: an event's budget ends with class `unavailable`, and no event of the processor has succeeded since it failed first
//!   ([`Breakers::opens_instead`]).

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{engine::retry, model::RetryPolicy, registry::ProcessorEntry};

/// First attempts that fail with one code within [`WINDOW`] to open the breaker.
const FAILURES: u64 = 50;
/// And their share of all first attempts, in a hundred.
const SHARE: u64 = 50;
/// Counts are of the last one to two of these.
const WINDOW: Duration = Duration::from_secs(5);
/// Events that are tried in one back-off while it is open.
const TRICKLE: u32 = 8;
/// Successes, beyond the failures among them, that close it.
const SUCCESSES: u64 = 3;
/// It closes when no event has failed at its first attempt for so long: what is left has failed before, and its budget
/// decides.
const QUIET: Duration = Duration::from_mins(1);
/// A success so shortly before an event failed still says that nothing outside is unavailable.
const RECENT: Duration = Duration::from_secs(1);
/// Codes of one processor that are counted; a code is meant to be one of few.
const CODES: usize = 32;

/// The breakers of all processors, shared by the owners of all partitions.
pub(crate) struct Breakers {
    entries: Vec<&'static ProcessorEntry>,
    /// How many are open: nothing else is looked at while none is.
    open: AtomicUsize,
    processors: Mutex<Vec<Breaker>>,
}

/// What a committed batch says of first attempts.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// First attempts, by processor.
    pub(crate) attempts: Vec<u64>,
    /// Those that failed because something outside is unavailable: processor and code.
    pub(crate) failures: Vec<(usize, String)>,
}

impl Trials {
    pub(crate) fn attempt(&mut self, processor: usize) {
        if self.attempts.len() <= processor {
            self.attempts.resize(processor + 1, 0);
        }
        self.attempts[processor] += 1;
    }
}

/// One processor's counts, and how it is open.
#[derive(Default)]
struct Breaker {
    window: Option<Instant>,
    now: Counts,
    before: Counts,
    open: Option<Open>,
    last_success: Option<Instant>,
    /// When it closed last.
    closed: Option<Instant>,
}

#[derive(Default)]
struct Counts {
    attempts: u64,
    failures: BTreeMap<String, u64>,
}

struct Open {
    code: String,
    /// Back-offs since it opened.
    round: u32,
    next_round: Instant,
    /// Events that may still be tried in this one.
    left: u32,
    successes: u64,
    last_first_failure: Instant,
}

impl Breakers {
    pub(crate) fn new(entries: &[&'static ProcessorEntry]) -> Self {
        let processors = entries.iter().map(|_| Breaker::default()).collect();
        Self { entries: entries.to_vec(), open: AtomicUsize::new(0), processors: Mutex::new(processors) }
    }

    /// For how long an event of this processor has to wait before it may be tried; none where it may be tried now.
    pub(crate) fn delay(&self, processor: usize, policy: &RetryPolicy, random: u64) -> Option<Duration> {
        if self.open.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut processors = self.processors.lock();
        let open = processors.get_mut(processor)?.open.as_mut()?;
        let now = Instant::now();
        if now >= open.next_round {
            open.round += 1;
            open.next_round = now + retry::backoff(policy, open.round);
            open.left = TRICKLE;
        }
        if open.left > 0 {
            open.left -= 1;
            return None;
        }
        // Spread over the next rounds: not everything that waits is to be looked at in each.
        let round = retry::backoff(policy, open.round);
        let spread = u32::try_from(random % 4).unwrap_or_default();
        Some(open.next_round.saturating_duration_since(now) + round * spread)
    }

    /// Whether a failure with this code counts as an attempt.
    pub(crate) fn freezes(&self, processor: usize, code: &str) -> bool {
        self.open.load(Ordering::Relaxed) > 0
            && self.processors.lock().get(processor).is_some_and(|breaker| breaker.is_open_for(code))
    }

    /// Whether the breaker opens instead of the end of an event's budget: the event has failed for so long, last with this code,
    /// and no event of its processor has succeeded meanwhile. An event that has failed before the breaker closed does not open it
    /// again, so that one that can never succeed comes to its end.
    pub(crate) fn opens_instead(&self, processor: usize, code: &str, failing: Duration) -> bool {
        let now = Instant::now();
        let mut processors = self.processors.lock();
        let Some((breaker, entry)) = processors.get_mut(processor).zip(self.entries.get(processor)) else {
            return false;
        };
        let within = |then: Option<Instant>, time: Duration| then.is_some_and(|then| now.duration_since(then) <= time);
        let is_available = within(breaker.last_success, failing.max(RECENT));
        if breaker.open.is_some() || is_available || within(breaker.closed, failing) {
            return false;
        }
        warn!(
            processor = entry.name,
            code,
            "the circuit breaker opens: an event has failed to the end of its retries, and no other has succeeded meanwhile"
        );
        breaker.open = Some(Open::begin(code, now));
        self.count_open(&processors);
        true
    }

    /// Counts what a batch has tried: first attempts, and all successes by processor.
    pub(crate) fn observe(&self, trials: &Trials, successes: impl Iterator<Item = u64>) {
        let now = Instant::now();
        let mut processors = self.processors.lock();
        for (processor, attempts) in trials.attempts.iter().enumerate().filter(|(_, attempts)| **attempts > 0) {
            if let Some(breaker) = processors.get_mut(processor) {
                breaker.turn(now);
                breaker.now.attempts += attempts;
            }
        }
        for (processor, code) in &trials.failures {
            if let Some(breaker) = processors.get_mut(*processor) {
                breaker.failed(code, now);
            }
        }
        for (processor, successes) in successes.enumerate().filter(|(_, successes)| *successes > 0) {
            if let Some(breaker) = processors.get_mut(processor) {
                breaker.last_success = Some(now);
                if let Some(open) = &mut breaker.open {
                    open.successes += successes;
                }
            }
        }
        for (breaker, entry) in processors.iter_mut().zip(&self.entries) {
            breaker.close_if_over(entry, now);
            breaker.open_if_most_fail(entry, now);
        }
        self.count_open(&processors);
    }

    /// Whether each is open, in the order of the processors.
    pub(crate) fn open(&self) -> Vec<bool> {
        self.as_of_now().iter().map(|breaker| breaker.open.is_some()).collect()
    }

    /// What is open, for people.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let processors = self.as_of_now();
        let open = processors.iter().zip(&self.entries);
        open.filter_map(|(breaker, entry)| {
            let code = &breaker.open.as_ref()?.code;
            Some(format!("most events of {} fail with `{code}`; a few are tried, the others wait", entry.name))
        })
        .collect()
    }

    /// All of them, without those that closed by themselves: where the partition whose events failed has another owner by now,
    /// no batch may ever say so.
    fn as_of_now(&self) -> MutexGuard<'_, Vec<Breaker>> {
        let now = Instant::now();
        let mut processors = self.processors.lock();
        for (breaker, entry) in processors.iter_mut().zip(&self.entries) {
            breaker.close_if_over(entry, now);
        }
        self.count_open(&processors);
        processors
    }

    fn count_open(&self, processors: &[Breaker]) {
        self.open.store(processors.iter().filter(|breaker| breaker.open.is_some()).count(), Ordering::Relaxed);
    }
}

impl Open {
    fn begin(code: &str, now: Instant) -> Self {
        Self { code: code.to_owned(), round: 0, next_round: now, left: 0, successes: 0, last_first_failure: now }
    }
}

impl Breaker {
    fn is_open_for(&self, code: &str) -> bool {
        self.open.as_ref().is_some_and(|open| open.code == code)
    }

    /// Begins a new window when the last one is over.
    fn turn(&mut self, now: Instant) {
        let over = self.window.map_or(WINDOW * 2, |start| now.duration_since(start));
        if over >= WINDOW {
            self.before = std::mem::take(&mut self.now);
            if over >= WINDOW * 2 {
                self.before = Counts::default();
            }
            self.window = Some(now);
        }
    }

    fn failed(&mut self, code: &str, now: Instant) {
        if let Some(open) = self.open.as_mut().filter(|open| open.code == code) {
            open.last_first_failure = now;
            open.successes = open.successes.saturating_sub(1);
        }
        if let Some(count) = self.now.failures.get_mut(code) {
            *count += 1;
        } else if self.now.failures.len() < CODES {
            self.now.failures.insert(code.to_owned(), 1);
        }
    }

    fn close_if_over(&mut self, entry: &ProcessorEntry, now: Instant) {
        if let Some(open) = &self.open
            && (open.successes >= SUCCESSES || now.duration_since(open.last_first_failure) >= QUIET)
        {
            info!(processor = entry.name, code = open.code, "the circuit breaker closes");
            *self = Self { last_success: self.last_success, closed: Some(now), ..Self::default() };
        }
    }

    fn open_if_most_fail(&mut self, entry: &ProcessorEntry, now: Instant) {
        if self.open.is_some() {
            return;
        }
        let attempts = self.now.attempts + self.before.attempts;
        let count =
            |code: &String| self.now.failures.get(code).unwrap_or(&0) + self.before.failures.get(code).unwrap_or(&0);
        let worst = self.now.failures.keys().map(|code| (count(code), code)).max();
        if let Some((failures, code)) = worst
            && failures >= FAILURES
            && failures * 100 >= attempts * SHARE
        {
            warn!(
                processor = entry.name,
                code,
                failures,
                attempts,
                "the circuit breaker opens: a few events are tried, the others wait without losing attempts"
            );
            self.open = Some(Open::begin(code, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::retry::breaker::*;
    use crate::{dispatch::Outcome, model::OnExhausted, registry::Place};

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 3,
        backoff: Duration::from_secs(1),
        backoff_max: Duration::from_secs(4),
        timeout: Duration::from_secs(1),
        on_exhausted: OnExhausted::DeadLetter,
    };

    static ENTRY: ProcessorEntry = ProcessorEntry {
        event: "Done",
        version: 1,
        name: "EventProcessor_Done",
        summary: "",
        input: None,
        arguments: &[],
        policy: POLICY,
        place: Place { file: "breaker.rs", line: 1, module: "tests" },
        handler: |_| Box::pin(async { Outcome::Done }),
    };

    /// A batch of first attempts, of which some fail with this code.
    fn batch(breakers: &Breakers, attempts: u64, failures: u64, code: &str) {
        let trials =
            Trials { attempts: vec![attempts], failures: (0..failures).map(|_| (0, code.to_owned())).collect() };
        breakers.observe(&trials, std::iter::once(attempts - failures));
    }

    fn tried(breakers: &Breakers, events: u32) -> u32 {
        (0..events).map(|_| u32::from(breakers.delay(0, &POLICY, 0).is_none())).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_most_first_attempts_fail_alike() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, 1_000, 100, "away");
        batch(&breakers, 60, 40, "other");
        assert!(breakers.reasons().is_empty(), "a tenth is no reason");
        batch(&breakers, 1_000, 1_000, "away");
        assert!(breakers.reasons()[0].contains("EventProcessor_Done fail with `away`"), "{:?}", breakers.reasons());
        assert!(breakers.freezes(0, "away") && !breakers.freezes(0, "other"));
    }

    #[tokio::test(start_paused = true)]
    async fn few_failures_are_no_reason_and_old_ones_neither() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, FAILURES - 1, FAILURES - 1, "away");
        tokio::time::advance(WINDOW * 3).await;
        batch(&breakers, FAILURES - 1, FAILURES - 1, "away");
        assert!(breakers.reasons().is_empty());
        tokio::time::advance(WINDOW).await;
        batch(&breakers, 1, 1, "away");
        assert_eq!(breakers.reasons().len(), 1, "the last two windows count together");
    }

    #[tokio::test(start_paused = true)]
    async fn open_means_a_trickle_and_longer_pauses() {
        let breakers = Breakers::new(&[&ENTRY]);
        assert_eq!(tried(&breakers, 100), 100);
        batch(&breakers, 100, 100, "away");
        assert_eq!(tried(&breakers, 100), TRICKLE);
        let delay = breakers.delay(0, &POLICY, 0).expect("the round is used up");
        assert_eq!(delay, Duration::from_secs(1));
        tokio::time::advance(delay).await;
        assert_eq!(tried(&breakers, 100), TRICKLE);
        assert_eq!(breakers.delay(0, &POLICY, 0), Some(Duration::from_secs(2)));
        assert_eq!(breakers.delay(0, &POLICY, 3), Some(Duration::from_secs(8)), "spread over later rounds");
    }

    #[tokio::test(start_paused = true)]
    async fn successes_close_it() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, 100, 100, "away");
        batch(&breakers, 8, 6, "away");
        assert_eq!(breakers.reasons().len(), 1);
        batch(&breakers, 8, 0, "away");
        assert_eq!((breakers.reasons().len(), tried(&breakers, 100)), (0, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_again_does_not_hold_it_open() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, 100, 100, "away");
        tokio::time::advance(QUIET).await;
        batch(&breakers, 0, 0, "away");
        assert!(breakers.reasons().is_empty(), "only events that have failed before are left; their budgets decide");
    }

    #[tokio::test(start_paused = true)]
    async fn where_little_comes_the_end_of_a_budget_opens_it() {
        let breakers = Breakers::new(&[&ENTRY]);
        let budget = Duration::from_secs(3);
        batch(&breakers, 1, 0, "away");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!breakers.opens_instead(0, "away", budget), "another event has succeeded meanwhile");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(breakers.opens_instead(0, "away", budget));
        assert!(breakers.freezes(0, "away"));
        assert!(!breakers.opens_instead(0, "other", budget), "it is open already");
        tokio::time::advance(QUIET).await;
        assert_eq!(breakers.open(), [false]);
        assert!(!breakers.opens_instead(0, "away", QUIET + budget), "that event has had its outage");
        tokio::time::advance(budget * 2).await;
        assert!(breakers.opens_instead(0, "away", budget), "this one failed first after it");
    }

    #[tokio::test(start_paused = true)]
    async fn it_closes_where_nothing_comes_any_more() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, 100, 100, "away");
        tokio::time::advance(QUIET).await;
        assert_eq!((breakers.open(), breakers.freezes(0, "away")), (vec![false], false), "its partition is another's");
    }
}
