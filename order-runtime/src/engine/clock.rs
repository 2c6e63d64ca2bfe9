//! Time and randomness, the two inputs that differ between runs of the engine. Tests replace them to control both.

use jiff::Timestamp;

/// A source of the time of day and of random numbers. Durations are measured with tokio's clock, which a test can pause.
pub(crate) trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// A random number, used to spread actions that would otherwise happen at the same moment.
    fn random(&self) -> u64 {
        rand::random()
    }
}

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
