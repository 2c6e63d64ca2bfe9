//! Wall-clock time as the engine sees it: a seam, so that a test can steer it.

use jiff::Timestamp;

/// Tells the time of day. Durations are measured by tokio's clock, which a test can pause.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
