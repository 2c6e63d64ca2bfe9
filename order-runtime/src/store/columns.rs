//! Conversions between values and the columns of the SQL stores.

use jiff::Timestamp;

use super::WaitingState;
use crate::model::OnExhausted;

/// Nanoseconds since the epoch. A time outside of the years 1677 to 2262 becomes the nearest one within them.
pub(super) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// The time at this number of nanoseconds since the epoch.
pub(super) fn time(nanoseconds: i64) -> Result<Timestamp, jiff::Error> {
    Timestamp::from_nanosecond(nanoseconds.into())
}

/// A row limit as an SQL integer.
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

/// The stored name of a state.
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

/// The state with this stored name.
pub(super) fn state_of(name: &str) -> Option<WaitingState> {
    STATES.into_iter().find(|state| state_name(*state) == name)
}
