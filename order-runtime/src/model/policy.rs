//! The retry policy of a processor.

use std::time::Duration;

/// The treatment of an event whose processor fails with class `retry`, panics or takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// The delay before the first retry; it doubles with each retry.
    pub backoff: Duration,
    /// The longest delay between two attempts.
    pub backoff_max: Duration,
    /// The longest an attempt may take.
    pub timeout: Duration,
    /// The treatment of the event after the last failed attempt.
    pub on_exhausted: OnExhausted,
}

impl RetryPolicy {
    /// The policy of a processor that declares none.
    ///
    /// Twelve retries between 100 ms and 30 s span about three minutes: long enough for a restart of a
    /// dependency, short enough that a dead letter appears while its cause can still be seen.
    pub const DEFAULT: Self = Self {
        retries: 12,
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        on_exhausted: OnExhausted::DeadLetter,
    };
}

/// The treatment of an event after the last failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnExhausted {
    /// The event becomes a dead letter, and later events of its key continue.
    DeadLetter,
    /// The event and its key wait until an operator releases them; other keys continue.
    ParkKey,
    /// The event is held and its partition pauses until an operator resumes it.
    Stop,
}

impl std::fmt::Display for OnExhausted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DeadLetter => "dead_letter",
            Self::ParkKey => "park_key",
            Self::Stop => "stop",
        })
    }
}
