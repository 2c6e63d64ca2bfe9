//! Throttles librdkafka's log, which repeats itself many times a second while a broker is unavailable.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use tracing::{debug, warn};

use crate::model::LogThrottle;

/// At most one line of each kind is logged in this time.
const QUIET: Duration = Duration::from_secs(30);

/// One throttle for each kind of line.
#[derive(Debug, Default)]
pub(super) struct KafkaLogThrottle {
    reported: Mutex<HashMap<String, LogThrottle>>,
    /// The last advertised broker that could not be reached.
    unreached: Mutex<Option<(Unreached, Instant)>>,
}

/// A broker that another broker advertises in its `advertised.listeners`, and that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreached {
    /// Host and port.
    pub(super) address: String,
    /// librdkafka's error text.
    pub(super) reason: String,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, reason } = self;
        write!(
            f,
            "a broker advertises {address}, which cannot be reached ({reason}); correct its advertised.listeners, or make that name \
             resolvable here"
        )
    }
}

impl Unreached {
    /// Parses a line such as `[thrd:host:9092/1]: host:9092/1: Failed to resolve 'host:9092': …`. Configured addresses end in
    /// `/bootstrap` and are ignored.
    fn read(line: &str) -> Option<Self> {
        let text = line.split_once("]: ").map_or(line, |(_, text)| text);
        let (name, reason) = text.split_once(": ")?;
        let (address, node) = name.rsplit_once('/')?;
        let is_learned = !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_digit());
        let is_unreached = ["Failed to resolve", "Connect to", "Connection setup timed out"]
            .iter()
            .any(|beginning| reason.starts_with(beginning));
        (is_learned && is_unreached).then(|| Self { address: address.to_owned(), reason: reason.to_owned() })
    }
}

impl KafkaLogThrottle {
    /// Logs a line of librdkafka: a warning if none of its kind was logged within 30 s, otherwise at debug level.
    pub(super) fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        if kind == "FAIL"
            && let Some(unreached) = Unreached::read(line)
        {
            *self.unreached.lock() = Some((unreached, Instant::now()));
        }
        match level {
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                debug!(target: "librdkafka", kind, "{line}");
            }
            _ if self.due(kind) => warn!(target: "librdkafka", kind, "{line}"),
            _ => debug!(target: "librdkafka", kind, "{line}"),
        }
    }

    /// The advertised broker that could not be reached within the last 30 s.
    pub(super) fn unreached(&self) -> Option<Unreached> {
        let unreached = self.unreached.lock();
        unreached.as_ref().filter(|(_, when)| when.elapsed() < QUIET).map(|(unreached, _)| unreached.clone())
    }

    /// Whether a line of this kind may be logged now. If so, it counts as logged.
    pub(super) fn due(&self, kind: &str) -> bool {
        let mut reported = self.reported.lock();
        reported.entry(kind.to_owned()).or_insert_with(|| LogThrottle::new(QUIET)).pass().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_broker_that_cannot_be_reached_is_known() {
        let log_throttle = KafkaLogThrottle::default();
        let fails = |line: &str| log_throttle.log(RDKafkaLogLevel::Error, "FAIL", line);
        fails(
            "[thrd:kafka:9092/bootstrap]: kafka:9092/bootstrap: Failed to resolve 'kafka:9092': not known (after 1ms)",
        );
        fails("[thrd:kafka:9092/1]: kafka:9092/1: Disconnected (after 1ms in state UP)");
        assert_eq!(log_throttle.unreached(), None);
        fails("[thrd:inner:9092/1]: inner:9092/1: Failed to resolve 'inner:9092': not known (after 1ms)");
        assert_eq!(log_throttle.unreached().map(|unreached| unreached.address).as_deref(), Some("inner:9092"));
        fails("[thrd:[::1]:9092/12]: [::1]:9092/12: Connect to ipv6#[::1]:9092 failed: Connection refused (after 0ms)");
        assert_eq!(log_throttle.unreached().map(|unreached| unreached.address).as_deref(), Some("[::1]:9092"));
    }

    #[test]
    fn a_kind_of_line_is_logged_once_in_a_while() {
        let log_throttle = KafkaLogThrottle::default();
        assert!(log_throttle.due("FAIL"));
        assert!(!log_throttle.due("FAIL"));
        assert!(log_throttle.due("SESSTMOUT"));
    }
}
