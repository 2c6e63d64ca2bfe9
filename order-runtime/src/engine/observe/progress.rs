//! The progress of a partition owner, as seen from outside: the owner records its current activity, and the health checks
//! compare it with the clock.
//!
//! The checks do not need the engine's threads, so a processor that blocks these threads cannot hide itself.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// A partition owner that has called no processor and has not rested for this time is stuck. Most likely, a processor blocks its
/// thread: between two awaits, a processor is expected to compute for milliseconds.
pub(crate) const STUCK: Duration = Duration::from_mins(1);
/// A store that has not answered for this time is unavailable. The time exceeds the stores' own statement limit, 20 s.
pub(crate) const STORE_ANSWERS: Duration = Duration::from_secs(30);
/// Ready records are taken within milliseconds. After this time, the partition owner has missed them.
pub(crate) const TAKEN: Duration = Duration::from_mins(1);
/// The consumer restarts a stalled fetch after 30 s, and repeatedly. If no record has arrived after this time, that has not
/// helped.
pub(crate) const FETCHED: Duration = Duration::from_mins(2);

/// The current activity of a partition owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It waits for work.
    Resting,
    /// It handles events.
    Handling,
    /// It waits for the store.
    AwaitingStore,
    /// Its task has ended by a panic.
    Ended,
}

/// The recorded progress of one partition owner.
#[derive(Debug)]
pub(crate) struct Progress {
    activity: Mutex<(Activity, Instant)>,
    /// The processor that was called last. A stuck owner is stuck in this processor.
    processor: AtomicUsize,
    /// The number of processor calls so far.
    calls: AtomicU64,
    /// The number of calls at the last check that found a new one, and the time of that check.
    seen: Mutex<(u64, Instant)>,
}

/// Why a partition makes no progress. Each duration is the time since it stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standstill {
    /// A processor has not returned to the async runtime; its index, or `usize::MAX` if it is unknown.
    Blocked(usize, Duration),
    /// The store has not answered.
    StoreSilent(Duration),
    /// The partition owner's task has ended.
    OwnerEnded,
    /// Records are ready, and the partition owner has not taken them.
    NotTaken(Duration),
    /// No record has arrived although the log has more.
    NotFetched(Duration),
}

impl Standstill {
    /// Whether the cause is known, so that a restart of the process would not help.
    pub(crate) fn has_named_cause(self) -> bool {
        matches!(self, Self::StoreSilent(_))
    }
}

impl Progress {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            activity: Mutex::new((Activity::Resting, now)),
            processor: AtomicUsize::new(usize::MAX),
            calls: AtomicU64::new(0),
            seen: Mutex::new((0, now)),
        }
    }

    /// Records the owner's activity from now on.
    pub(crate) fn is_at(&self, activity: Activity) {
        *self.activity.lock() = (activity, Instant::now());
    }

    /// Records that the owner waits for the store until the returned guard is dropped.
    pub(crate) fn awaits_store(&self) -> AwaitingStore<'_> {
        let former = self.activity.lock().0;
        self.is_at(Activity::AwaitingStore);
        AwaitingStore { progress: self, former }
    }

    /// Records that a processor is about to be called.
    pub(crate) fn calls(&self, processor: usize) {
        self.processor.store(processor, Ordering::Relaxed);
        // Only the owner writes, so a plain addition is enough.
        self.calls.store(self.calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Records that a processor that was called earlier is polled again; which one is unknown.
    pub(crate) fn goes_on(&self) {
        self.processor.store(usize::MAX, Ordering::Relaxed);
        self.is_at(Activity::Handling);
    }

    /// Why the partition owner makes no progress; `None` if it does. The consumer reports `ready_since`, since when records
    /// are ready, and `silent_since`, since when no record has arrived although the log has more. Neither counts unless the
    /// owner `takes` records.
    pub(crate) fn standstill(
        &self,
        takes: bool,
        ready_since: Option<Instant>,
        silent_since: Option<Instant>,
    ) -> Option<Standstill> {
        let now = Instant::now();
        let (activity, since) = *self.activity.lock();
        let at_this = now.saturating_duration_since(since);
        match activity {
            Activity::Ended => Some(Standstill::OwnerEnded),
            Activity::AwaitingStore => (at_this > STORE_ANSWERS).then_some(Standstill::StoreSilent(at_this)),
            Activity::Handling => {
                let blocked = at_this.min(self.without_calls(now));
                (blocked > STUCK).then(|| Standstill::Blocked(self.processor.load(Ordering::Relaxed), blocked))
            }
            Activity::Resting if takes => {
                let not_taken = ready_since.map(|ready| now.saturating_duration_since(ready.max(since)));
                let not_fetched = silent_since.map(|silent| now.saturating_duration_since(silent));
                let over = |time: Option<Duration>, limit| time.filter(|time| *time > limit);
                over(not_taken, TAKEN)
                    .map(Standstill::NotTaken)
                    .or_else(|| over(not_fetched, FETCHED).map(Standstill::NotFetched))
            }
            Activity::Resting => None,
        }
    }

    /// How long no processor was called, as seen by the checks. A long batch does not rest, but it calls many processors.
    fn without_calls(&self, now: Instant) -> Duration {
        let calls = self.calls.load(Ordering::Relaxed);
        let mut seen = self.seen.lock();
        if seen.0 != calls {
            *seen = (calls, now);
        }
        now.saturating_duration_since(seen.1)
    }
}

/// The guard of a wait for the store; on drop, the owner is back at its former activity.
pub(crate) struct AwaitingStore<'p> {
    progress: &'p Progress,
    former: Activity,
}

impl AwaitingStore<'_> {
    /// Polls running processors during the wait and keeps the start time of the wait.
    pub(crate) fn interrupted<T>(&self, go_on: impl FnOnce() -> T) -> T {
        let waits = *self.progress.activity.lock();
        self.progress.goes_on();
        let done = go_on();
        *self.progress.activity.lock() = waits;
        done
    }
}

impl Drop for AwaitingStore<'_> {
    fn drop(&mut self) {
        self.progress.is_at(self.former);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::observe::progress::*;

    async fn pass(time: Duration) {
        tokio::time::advance(time + Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocking_processor_is_named_and_a_busy_one_is_not() {
        let progress = Progress::new();
        progress.is_at(Activity::Handling);
        // A batch of many slow events: five minutes without rest, but with a new event every five seconds.
        for _ in 0..60 {
            progress.calls(1);
            assert_eq!(progress.standstill(true, None, None), None);
            pass(Duration::from_secs(5)).await;
        }
        progress.calls(7);
        assert_eq!(progress.standstill(true, None, None), None);
        pass(STUCK).await;
        let stuck = progress.standstill(true, None, None);
        assert!(matches!(stuck, Some(Standstill::Blocked(7, time)) if time > STUCK), "{stuck:?}");
        assert!(!stuck.is_some_and(Standstill::has_named_cause));
        progress.is_at(Activity::Resting);
        assert_eq!(progress.standstill(true, None, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_is_a_named_cause() {
        let progress = Progress::new();
        progress.is_at(Activity::Handling);
        let waits = progress.awaits_store();
        pass(STORE_ANSWERS).await;
        let silent = progress.standstill(true, None, None).expect("the silent store is reported");
        assert!(matches!(silent, Standstill::StoreSilent(_)) && silent.has_named_cause(), "{silent:?}");
        waits.interrupted(|| {});
        let silent = progress.standstill(true, None, None);
        assert!(matches!(silent, Some(Standstill::StoreSilent(_))), "polling attempts does not hide it: {silent:?}");
        pass(STUCK).await;
        drop(waits);
        assert_eq!(
            progress.standstill(true, None, None),
            None,
            "the time limit of the processor begins when the store has answered"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn records_that_are_not_taken_or_not_fetched_are_reported() {
        let progress = Progress::new();
        let since = Some(Instant::now());
        pass(TAKEN).await;
        assert!(matches!(progress.standstill(true, since, None), Some(Standstill::NotTaken(_))));
        assert_eq!(progress.standstill(false, since, since), None, "the owner takes no records");
        assert_eq!(progress.standstill(true, None, None), None, "there are no records");
        assert_eq!(progress.standstill(true, None, since), None, "the fetch may still recover");
        pass(FETCHED).await;
        assert!(matches!(progress.standstill(true, None, since), Some(Standstill::NotFetched(_))));
        // It began to rest only now, so it has taken records in the meantime.
        progress.is_at(Activity::Resting);
        assert_eq!(progress.standstill(true, since, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_owner_is_reported_at_once() {
        let progress = Progress::new();
        progress.is_at(Activity::Ended);
        assert_eq!(progress.standstill(false, None, None), Some(Standstill::OwnerEnded));
    }
}
