//! Deletes expired deduplication windows, dead-letter records and audit records from the store.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::Clock;
use crate::store::Store;

/// The pause between two steps. Each step checks some thousand keys.
const STEP: Duration = Duration::from_secs(10);
/// The pause between two rounds over all keys.
const ROUND: Duration = Duration::from_hours(1);

/// Deletes what was last written longer than `retention` ago. Runs until it is dropped.
pub(crate) async fn forget(store: Arc<dyn Store>, clock: Arc<dyn Clock>, retention: Duration) {
    let mut from = Vec::new();
    loop {
        tokio::time::sleep(STEP).await;
        let Ok(until) = clock.now().checked_sub(retention) else {
            debug!(?retention, "the retention exceeds the range of timestamps; nothing expires");
            return;
        };
        match store.forget(until, std::mem::take(&mut from)).await {
            Ok(Some(next)) => from = next,
            Ok(None) => tokio::time::sleep(ROUND).await,
            Err(error) => warn!(%error, "failed to delete expired windows and dead-letter records; retrying"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::SystemClock,
        store::{
            LetterStore,
            conformance::fixture::{begun, commit, step},
            memory::MemoryStore,
        },
    };

    #[tokio::test(start_paused = true)]
    async fn windows_younger_than_the_retention_are_kept() {
        let store = Arc::new(MemoryStore::default());
        let known = begun(&*store, 0).await;
        commit(&*store, step(&known, 0, 0).window("k", 0, b"r")).await;
        let window = async || store.window(b"k".to_vec()).await.expect("memory answers");
        let within = Duration::from_mins(1);
        let day = forget(Arc::clone(&store) as _, Arc::new(SystemClock), Duration::from_hours(24));
        assert!(tokio::time::timeout(within, day).await.is_err(), "the task never ends");
        assert_eq!(window().await, Some(b"r".to_vec()));
        let at_once = forget(Arc::clone(&store) as _, Arc::new(SystemClock), Duration::ZERO);
        assert!(tokio::time::timeout(within, at_once).await.is_err(), "the task never ends");
        assert_eq!(window().await, None);
    }
}
