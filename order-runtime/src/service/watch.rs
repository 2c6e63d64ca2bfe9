//! Asks the service for its health at all times and lets the log tell of changes, so that a consumer that does not move is
//! seen where nobody probes.
//!
//! It runs beside HTTP, on a thread that no processor can block.

use std::{sync::Arc, time::Duration};

use tracing::{error, info};

use crate::engine::observe::Operations;

/// How often it asks.
const EVERY: Duration = Duration::from_secs(5);

/// Tells until it is dropped.
pub(super) async fn tell(operations: Arc<dyn Operations>) {
    let mut told = LogThrottle::default();
    loop {
        tokio::time::sleep(EVERY).await;
        match told.change(&operations.health().not_live) {
            Some(Change::Stands(reasons)) => error!(reasons, "the service does not move; restart it if that lasts"),
            Some(Change::Moves) => info!("the service moves again"),
            None => {}
        }
    }
}

/// What the log was told last.
#[derive(Debug, Default)]
struct LogThrottle {
    stands: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Stands(String),
    Moves,
}

impl LogThrottle {
    /// What is new about this: reasons have their time in them, so only their presence counts.
    fn change(&mut self, not_live: &[String]) -> Option<Change> {
        let stands = !not_live.is_empty();
        if std::mem::replace(&mut self.stands, stands) == stands {
            return None;
        }
        Some(if stands { Change::Stands(not_live.join("; ")) } else { Change::Moves })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let mut told = LogThrottle::default();
        let reasons = ["one".to_owned(), "two".to_owned()];
        assert_eq!(told.change(&[]), None);
        assert_eq!(told.change(&reasons), Some(Change::Stands("one; two".to_owned())));
        assert_eq!(told.change(&reasons[..1]), None);
        assert_eq!(told.change(&[]), Some(Change::Moves));
    }
}
