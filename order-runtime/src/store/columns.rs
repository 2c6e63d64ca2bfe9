//! Values as every SQL store writes them.

use jiff::Timestamp;

use super::WaitingState;
use crate::model::OnExhausted;

/// Nanoseconds since the epoch; a time beyond the years 1677 to 2262 becomes the nearest within.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// The time of so many nanoseconds.
pub(super) fn time(nanoseconds: i64) -> Result<Timestamp, jiff::Error> {
    Timestamp::from_nanosecond(nanoseconds.into())
}

/// A number of rows as SQL takes it.
pub(super) fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

const STATES: [WaitingState; 6] = [
    WaitingState::Retry,
    WaitingState::Behind,
    WaitingState::Running,
    WaitingState::Held(OnExhausted::DeadLetter),
    WaitingState::Held(OnExhausted::ParkKey),
    WaitingState::Held(OnExhausted::Stop),
];

/// The name of a state.
pub(super) fn state_name(state: WaitingState) -> &'static str {
    match state {
        WaitingState::Retry => "retry",
        WaitingState::Behind => "behind",
        WaitingState::Running => "running",
        WaitingState::Held(OnExhausted::DeadLetter) => "held_dead_letter",
        WaitingState::Held(OnExhausted::ParkKey) => "held_park_key",
        WaitingState::Held(OnExhausted::Stop) => "held_stop",
    }
}

/// The state of a name.
pub(super) fn state_of(name: &str) -> Option<WaitingState> {
    STATES.into_iter().find(|state| state_name(*state) == name)
}
