//! Whether the owner of a partition moves, as seen from outside of it: the owner notes what it is at, and whoever asks for the
//! health compares that with the clock.
//!
//! Nothing here needs the engine's own threads: a processor that blocks them must not hide itself.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// An owner that has begun no event and come to no point of rest for so long is stuck: most likely, a processor blocks its
/// thread. Processors await, and what they compute between two awaits takes milliseconds.
pub(crate) const STUCK: Duration = Duration::from_mins(1);
/// A store that has not answered for so long is away: beyond the time that each store gives its own statements, 20 s.
pub(crate) const STORE_ANSWERS: Duration = Duration::from_secs(30);
/// Records that are ready are taken within milliseconds. After this time their owner has missed that they are there.
pub(crate) const TAKEN: Duration = Duration::from_mins(1);
/// Fetching is set right by itself after 30 s, and again soon. When nothing has come after this time, that did not help.
pub(crate) const FETCHED: Duration = Duration::from_mins(2);

/// What an owner is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It waits for something to do.
    Resting,
    /// It handles events.
    Handling,
    /// It waits for the store.
    AwaitingStore,
    /// Its task has ended without being asked to: it has panicked.
    Ended,
}

/// The signs of life of one owner.
#[derive(Debug)]
pub(crate) struct Progress {
    activity: Mutex<(Activity, Instant)>,
    /// The processor that was called last; where the owner is stuck, it is stuck in this one.
    processor: AtomicUsize,
    /// Calls of processors so far.
    calls: AtomicU64,
    /// The calls when somebody last asked, and since when there were no more.
    seen: Mutex<(u64, Instant)>,
}

/// Why a partition does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standstill {
    /// A processor has not come back to the runtime for so long; its number, where it is known.
    Blocked(usize, Duration),
    /// The store has not answered for so long.
    StoreSilent(Duration),
    /// The owner's task has ended.
    OwnerEnded,
    /// Records have lain ready for so long, and the owner has not taken them.
    NotTaken(Duration),
    /// Nothing has arrived for so long, though the log has more.
    NotFetched(Duration),
}

impl Standstill {
    /// Whether it is known what will end it: such a one is no reason to restart the process.
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

    /// The owner is at this from now on.
    pub(crate) fn is_at(&self, activity: Activity) {
        *self.activity.lock() = (activity, Instant::now());
    }

    /// The owner waits for the store as long as the answer lives.
    pub(crate) fn awaits_store(&self) -> AwaitingStore<'_> {
        let former = self.activity.lock().0;
        self.is_at(Activity::AwaitingStore);
        AwaitingStore { progress: self, former }
    }

    /// A processor is about to be called.
    pub(crate) fn calls(&self, processor: usize) {
        self.processor.store(processor, Ordering::Relaxed);
        // Only the owner writes, so this is one addition and no locked instruction.
        self.calls.store(self.calls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// A processor goes on that was called earlier; which one is not known.
    pub(crate) fn goes_on(&self) {
        self.processor.store(usize::MAX, Ordering::Relaxed);
        self.is_at(Activity::Handling);
    }

    /// Why the owner does not move, where it does not. `ready_since` and `silent_since` are what the consumer says of records
    /// that can be taken and of a log that has more; neither counts while the owner `takes` none.
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

    /// For how long no processor was called, as far as anybody has asked: a long batch calls many and does not rest.
    fn without_calls(&self, now: Instant) -> Duration {
        let calls = self.calls.load(Ordering::Relaxed);
        let mut seen = self.seen.lock();
        if seen.0 != calls {
            *seen = (calls, now);
        }
        now.saturating_duration_since(seen.1)
    }
}

/// An owner waits for the store until this is dropped.
pub(crate) struct AwaitingStore<'p> {
    progress: &'p Progress,
    former: Activity,
}

impl AwaitingStore<'_> {
    /// Polls running processors during the wait, whose start time is kept.
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
    async fn who_blocks_a_thread_is_named_and_who_is_busy_is_not() {
        let progress = Progress::new();
        progress.is_at(Activity::Handling);
        // A batch of many slow events: five minutes without a rest, but always another event.
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
        let silent = progress.standstill(true, None, None).expect("it is told");
        assert!(matches!(silent, Standstill::StoreSilent(_)) && silent.has_named_cause(), "{silent:?}");
        waits.interrupted(|| {});
        let silent = progress.standstill(true, None, None);
        assert!(matches!(silent, Some(Standstill::StoreSilent(_))), "attempts that go on do not hide it: {silent:?}");
        pass(STUCK).await;
        drop(waits);
        assert_eq!(
            progress.standstill(true, None, None),
            None,
            "the processor's time begins when the store has answered"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn records_that_nobody_takes_or_fetches_are_told() {
        let progress = Progress::new();
        let since = Some(Instant::now());
        pass(TAKEN).await;
        assert!(matches!(progress.standstill(true, since, None), Some(Standstill::NotTaken(_))));
        assert_eq!(progress.standstill(false, since, since), None, "it is not to take any");
        assert_eq!(progress.standstill(true, None, None), None, "there is nothing to do");
        assert_eq!(progress.standstill(true, None, since), None, "fetching may yet be set right");
        pass(FETCHED).await;
        assert!(matches!(progress.standstill(true, None, since), Some(Standstill::NotFetched(_))));
        // It has rested since then only: it did take something meanwhile.
        progress.is_at(Activity::Resting);
        assert_eq!(progress.standstill(true, since, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_that_has_ended_is_told_at_once() {
        let progress = Progress::new();
        progress.is_at(Activity::Ended);
        assert_eq!(progress.standstill(false, None, None), Some(Standstill::OwnerEnded));
    }
}
