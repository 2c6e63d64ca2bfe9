//! Checks the health of the service periodically and logs changes, so that a stuck consumer is visible without health probes.
//!
//! It runs on the HTTP thread, which no processor can block.

use std::{sync::Arc, time::Duration};

use tracing::{error, info};

use crate::engine::observe::Operations;

/// The time between two checks.
const EVERY: Duration = Duration::from_secs(5);

/// Logs changes until it is dropped.
pub(super) async fn log_changes(operations: Arc<dyn Operations>) {
    let mut logged = Logged::default();
    loop {
        tokio::time::sleep(EVERY).await;
        match logged.change(&operations.health().not_live) {
            Some(Change::Stuck(reasons)) => error!(reasons, "the service makes no progress; restart it if this lasts"),
            Some(Change::Progresses) => info!("the service makes progress again"),
            None => {}
        }
    }
}

/// The state that was logged last.
#[derive(Debug, Default)]
struct Logged {
    is_stuck: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Stuck(String),
    Progresses,
}

impl Logged {
    /// The change since the last call, if any. Reasons contain durations, so only their presence counts.
    fn change(&mut self, not_live: &[String]) -> Option<Change> {
        let is_stuck = !not_live.is_empty();
        if std::mem::replace(&mut self.is_stuck, is_stuck) == is_stuck {
            return None;
        }
        Some(if is_stuck { Change::Stuck(not_live.join("; ")) } else { Change::Progresses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_reported_once() {
        let mut logged = Logged::default();
        let reasons = ["one".to_owned(), "two".to_owned()];
        assert_eq!(logged.change(&[]), None);
        assert_eq!(logged.change(&reasons), Some(Change::Stuck("one; two".to_owned())));
        assert_eq!(logged.change(&reasons[..1]), None);
        assert_eq!(logged.change(&[]), Some(Change::Progresses));
    }
}
