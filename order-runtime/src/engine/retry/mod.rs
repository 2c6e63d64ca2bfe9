//! When a failed event is retried, and when its retry budget is spent.

pub(crate) mod breaker;
pub(crate) mod waiting;

use std::time::Duration;

use jiff::Timestamp;

use crate::model::RetryPolicy;

/// The longest delay that an event waits within its batch. After a longer one it waits in the store.
pub(crate) const IN_PLACE: Duration = Duration::from_millis(10);

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another attempt after this delay.
    Again(Duration),
    /// The retry budget is spent.
    Exhausted,
}

/// Decides what follows the `attempts`-th failed attempt of an event that has waited since `since`.
///
/// The retry budget has two limits: the number of attempts, and the total time of the attempts with their delays, at most
/// `max_elapsed`. The time also runs while an event waits behind another one of its key, so that the events behind a broken
/// one do not each take a full budget: an event whose time is up gets one attempt. `random` is any number; it spreads the
/// delays of events that failed together.
pub(crate) fn next(
    policy: &RetryPolicy,
    max_elapsed: Option<Duration>,
    attempts: u32,
    since: Timestamp,
    now: Timestamp,
    random: u64,
) -> Next {
    if attempts > policy.retries {
        return Next::Exhausted;
    }
    let elapsed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let limit = max_elapsed.map_or_else(|| span(policy), |limit| limit.min(span(policy)));
    if elapsed >= limit {
        return Next::Exhausted;
    }
    Next::Again(jittered(backoff(policy, attempts), random))
}

/// The delay before retry number `attempt` (from 1), without jitter. It doubles with each retry, up to `backoff_max`.
pub(crate) fn backoff(policy: &RetryPolicy, attempt: u32) -> Duration {
    let doubled = 2_u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| policy.backoff.checked_mul(factor));
    doubled.unwrap_or(policy.backoff_max).min(policy.backoff_max)
}

/// The maximum time that all attempts of an event can take, delays and jitter included.
pub(crate) fn span(policy: &RetryPolicy) -> Duration {
    let mut delays = Duration::ZERO;
    for attempt in 1..=policy.retries {
        let delay = backoff(policy, attempt);
        if delay == policy.backoff_max {
            delays = delays.saturating_add(delay.saturating_mul(policy.retries - attempt + 1));
            break;
        }
        delays = delays.saturating_add(delay);
    }
    // Jitter lengthens a delay by a fifth at most.
    delays
        .saturating_mul(6)
        .checked_div(5)
        .unwrap_or(delays)
        .saturating_add(policy.timeout.saturating_mul(policy.retries.saturating_add(1)))
}

/// The longest delay of the policy, jitter included.
pub(crate) fn longest_delay(policy: &RetryPolicy) -> Duration {
    jittered(policy.backoff_max, 400)
}

/// The delay with a jitter of up to a fifth in either direction.
fn jittered(delay: Duration, random: u64) -> Duration {
    // 0.8 to 1.2 in steps of a thousandth.
    let thousandths = 800 + u32::try_from(random % 401).unwrap_or(200);
    delay.saturating_mul(thousandths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OnExhausted;

    fn policy(retries: u32) -> RetryPolicy {
        RetryPolicy {
            retries,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            on_exhausted: OnExhausted::DeadLetter,
        }
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let delays: Vec<_> = (1..=6).map(|attempt| backoff(&policy(9), attempt).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff(&policy(9), u32::MAX), Duration::from_secs(1));
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for random in 0..1_000 {
            let Next::Again(delay) = next(&policy(3), None, 1, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, random)
            else {
                panic!("the first of three retries is due");
            };
            assert!((80..=120).contains(&delay.as_millis()), "{delay:?}");
        }
    }

    #[test]
    fn a_budget_ends_by_attempts_and_by_time() {
        let start = Timestamp::UNIX_EPOCH;
        let later = start + span(&policy(3));
        assert_eq!(next(&policy(3), None, 4, start, start, 0), Next::Exhausted);
        assert_ne!(next(&policy(3), None, 3, start, start, 0), Next::Exhausted);
        assert_eq!(next(&policy(3), None, 1, start, later, 0), Next::Exhausted);
        let short = Some(Duration::from_millis(50));
        assert_eq!(next(&policy(3), short, 1, start, start + Duration::from_millis(50), 0), Next::Exhausted);
        assert_eq!(next(&policy(0), None, 1, start, start, 0), Next::Exhausted);
    }

    #[test]
    fn the_span_covers_every_attempt_and_delay() {
        // 100 + 200 + 400 ms with a fifth of jitter, and four attempts of 5 s.
        assert_eq!(span(&policy(3)), Duration::from_millis(840) + Duration::from_secs(20));
        assert!(span(&policy(u32::MAX)) > Duration::from_secs(1_000_000));
    }
}
