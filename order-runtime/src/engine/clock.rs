//! What makes two runs of the engine differ, time and chance: a seam, so that a test can steer both.

use jiff::Timestamp;

/// Tells the time of day. Durations are measured by tokio's clock, which a test can pause.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Any number; it spreads what would else happen at the same moment.
    fn random(&self) -> u64 {
        rand::random()
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
