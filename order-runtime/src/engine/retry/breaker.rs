//! The circuit breaker: stops retries from being spent while an external dependency of a processor is unavailable.
//!
//! An unavailable dependency most likely fails all events of the processor, and spent retries would turn good events into
//! dead letters. So the breaker opens for the processor and the error code: a few events are tried in each back-off, the
//! others wait in the store untried, and failures with this code do not count as attempts. Events of other processors are not
//! affected. The breaker closes when tried events succeed.
//!
//! Only failures that indicate an outage count: those of class `unavailable`, and timeouts. A failure that depends on the event
//! itself never counts, however many such events are sent. The breaker opens in two cases:
//!
//! - Many first attempts fail with one code ([`Breakers::observe`]). Repeated attempts are not counted, because their events have
//!   failed before and add no information.
//! - With few events: an event's retry budget ends with class `unavailable`, and no event of the processor has succeeded
//!   since that event first failed ([`Breakers::opens_at_end`]).

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{engine::retry, model::RetryPolicy, registry::ProcessorEntry};

/// The number of first attempts that must fail with one code to open the breaker, counted over one to two times [`WINDOW`].
const FAILURES: u64 = 50;
/// The minimum share of these failures in all first attempts, in percent.
const SHARE: u64 = 50;
/// The length of a counting window. The current and the previous window count.
const WINDOW: Duration = Duration::from_secs(5);
/// The number of events that are tried in one back-off while the breaker is open.
const TRICKLE: u32 = 8;
/// The number of successes, less the failures of first attempts, that closes the breaker.
const SUCCESSES: u64 = 3;
/// The breaker closes when no first attempt has failed for this time. The remaining events have failed before, and their retry
/// budgets decide.
const QUIET: Duration = Duration::from_mins(1);
/// A success within this time still shows that the dependency is available.
const RECENT: Duration = Duration::from_secs(1);
/// The maximum number of error codes that are counted for one processor. A processor is expected to have few.
const CODES: usize = 32;

/// The breakers of all processors, shared by the owners of all partitions.
pub(crate) struct Breakers {
    entries: Vec<&'static ProcessorEntry>,
    /// The number of open breakers. While it is 0, `delay` and `freezes` take no lock.
    open: AtomicUsize,
    processors: Mutex<Vec<Breaker>>,
}

/// The first attempts of a committed batch.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// First attempts, by processor.
    pub(crate) attempts: Vec<u64>,
    /// First attempts that failed because an external dependency is unavailable: processor and code.
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

/// The counts and the open state of one processor.
#[derive(Default)]
struct Breaker {
    window: Option<Instant>,
    now: Counts,
    before: Counts,
    open: Option<Open>,
    last_success: Option<Instant>,
    /// When it last closed.
    closed: Option<Instant>,
}

#[derive(Default)]
struct Counts {
    attempts: u64,
    failures: BTreeMap<String, u64>,
}

struct Open {
    code: String,
    /// The number of back-offs since it opened.
    round: u32,
    next_round: Instant,
    /// The number of events that may still be tried in this back-off.
    left: u32,
    successes: u64,
    last_first_failure: Instant,
}

impl Breakers {
    pub(crate) fn new(entries: &[&'static ProcessorEntry]) -> Self {
        let processors = entries.iter().map(|_| Breaker::default()).collect();
        Self { entries: entries.to_vec(), open: AtomicUsize::new(0), processors: Mutex::new(processors) }
    }

    /// How long an event of this processor must wait before it may be tried; `None` if it may be tried now.
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
        // Spread over the next back-offs, so that not every waiting event is looked at in each of them.
        let round = retry::backoff(policy, open.round);
        let spread = u32::try_from(random % 4).unwrap_or_default();
        Some(open.next_round.saturating_duration_since(now) + round * spread)
    }

    /// Whether the breaker is open for this code, so that a failure does not count as an attempt.
    pub(crate) fn freezes(&self, processor: usize, code: &str) -> bool {
        self.open.load(Ordering::Relaxed) > 0
            && self.processors.lock().get(processor).is_some_and(|breaker| breaker.is_open_for(code))
    }

    /// Opens the breaker instead of ending an event's retry budget, and returns whether it did. It opens if the event has
    /// failed for the time `failing`, last with this code, and no event of its processor has succeeded in that time. An event
    /// that first failed before the breaker last closed does not open it again, so that an event that can never succeed uses
    /// up its budget.
    pub(crate) fn opens_at_end(&self, processor: usize, code: &str, failing: Duration) -> bool {
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
            "the circuit breaker opens: an event has used up its retries, and no other event of the processor has succeeded"
        );
        breaker.open = Some(Open::begin(code, now));
        self.count_open(&processors);
        true
    }

    /// Counts the first attempts of a batch, and all its successes by processor; opens and closes breakers accordingly.
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

    /// Whether each breaker is open, in the order of the processors.
    pub(crate) fn open(&self) -> Vec<bool> {
        self.as_of_now().iter().map(|breaker| breaker.open.is_some()).collect()
    }

    /// One text for operators for each open breaker.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let processors = self.as_of_now();
        let open = processors.iter().zip(&self.entries);
        open.filter_map(|(breaker, entry)| {
            let code = &breaker.open.as_ref()?.code;
            Some(format!("most events of {} fail with `{code}`; a few are tried, the others wait", entry.name))
        })
        .collect()
    }

    /// All breakers, after closing those whose time is over. Batches alone cannot close them: if another instance owns the
    /// partition whose events failed, no batch may follow here.
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

    /// Begins a new counting window if the current one is over.
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
        batch(&breakers, 1_000, 100, "down");
        batch(&breakers, 60, 40, "other");
        assert!(breakers.reasons().is_empty(), "a share of a tenth is too small");
        batch(&breakers, 1_000, 1_000, "down");
        assert!(breakers.reasons()[0].contains("EventProcessor_Done fail with `down`"), "{:?}", breakers.reasons());
        assert!(breakers.freezes(0, "down") && !breakers.freezes(0, "other"));
    }

    #[tokio::test(start_paused = true)]
    async fn few_or_old_failures_do_not_open_it() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, FAILURES - 1, FAILURES - 1, "down");
        tokio::time::advance(WINDOW * 3).await;
        batch(&breakers, FAILURES - 1, FAILURES - 1, "down");
        assert!(breakers.reasons().is_empty());
        tokio::time::advance(WINDOW).await;
        batch(&breakers, 1, 1, "down");
        assert_eq!(breakers.reasons().len(), 1, "the last two windows count together");
    }

    #[tokio::test(start_paused = true)]
    async fn while_open_it_admits_a_few_events_at_growing_intervals() {
        let breakers = Breakers::new(&[&ENTRY]);
        assert_eq!(tried(&breakers, 100), 100);
        batch(&breakers, 100, 100, "down");
        assert_eq!(tried(&breakers, 100), TRICKLE);
        let delay = breakers.delay(0, &POLICY, 0).expect("the events of this back-off are used up");
        assert_eq!(delay, Duration::from_secs(1));
        tokio::time::advance(delay).await;
        assert_eq!(tried(&breakers, 100), TRICKLE);
        assert_eq!(breakers.delay(0, &POLICY, 0), Some(Duration::from_secs(2)));
        assert_eq!(breakers.delay(0, &POLICY, 3), Some(Duration::from_secs(8)), "spread over later back-offs");
    }

    #[tokio::test(start_paused = true)]
    async fn successes_close_it() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, 100, 100, "down");
        batch(&breakers, 8, 6, "down");
        assert_eq!(breakers.reasons().len(), 1);
        batch(&breakers, 8, 0, "down");
        assert_eq!((breakers.reasons().len(), tried(&breakers, 100)), (0, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_failures_do_not_keep_it_open() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, 100, 100, "down");
        tokio::time::advance(QUIET).await;
        batch(&breakers, 0, 0, "down");
        assert!(breakers.reasons().is_empty(), "only events that failed before remain, and their retry budgets decide");
    }

    #[tokio::test(start_paused = true)]
    async fn with_few_events_a_spent_retry_budget_opens_it() {
        let breakers = Breakers::new(&[&ENTRY]);
        let budget = Duration::from_secs(3);
        batch(&breakers, 1, 0, "down");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!breakers.opens_at_end(0, "down", budget), "another event has succeeded in that time");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(breakers.opens_at_end(0, "down", budget));
        assert!(breakers.freezes(0, "down"));
        assert!(!breakers.opens_at_end(0, "other", budget), "it is open already");
        tokio::time::advance(QUIET).await;
        assert_eq!(breakers.open(), [false]);
        assert!(!breakers.opens_at_end(0, "down", QUIET + budget), "that event failed before the breaker closed");
        tokio::time::advance(budget * 2).await;
        assert!(breakers.opens_at_end(0, "down", budget), "this event first failed after the breaker closed");
    }

    #[tokio::test(start_paused = true)]
    async fn it_closes_without_further_events() {
        let breakers = Breakers::new(&[&ENTRY]);
        batch(&breakers, 100, 100, "down");
        tokio::time::advance(QUIET).await;
        assert_eq!((breakers.open(), breakers.freezes(0, "down")), (vec![false], false), "no batch follows");
    }
}
