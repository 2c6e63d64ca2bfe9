//! librdkafka's own log, told in measure: while a broker is away it repeats itself many times a second.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::config::RDKafkaLogLevel;
use tracing::{debug, warn};

/// One line of a kind in this time.
const QUIET: Duration = Duration::from_secs(30);

/// Remembers when each kind of line was told last.
#[derive(Debug, Default)]
pub(super) struct Voice {
    told: Mutex<HashMap<String, Instant>>,
}

impl Voice {
    /// Passes a line of librdkafka on, unless one of its kind was told just now.
    pub(super) fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                debug!(target: "librdkafka", kind, "{line}");
            }
            _ if self.due(kind) => warn!(target: "librdkafka", kind, "{line}"),
            _ => debug!(target: "librdkafka", kind, "{line}"),
        }
    }

    /// Whether a line of this kind has not been told for a while; from now on it has.
    pub(super) fn due(&self, kind: &str) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock();
        if told.get(kind).is_some_and(|last| now.duration_since(*last) < QUIET) {
            return false;
        }
        told.insert(kind.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_line_is_told_once_in_a_while() {
        let voice = Voice::default();
        assert!(voice.due("FAIL"));
        assert!(!voice.due("FAIL"));
        assert!(voice.due("SESSTMOUT"));
    }
}
