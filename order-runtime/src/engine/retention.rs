//! What the store forgets, and when: identities of events and of dead letters that nobody will repeat any more.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};

use super::Clock;
use crate::store::Store;

/// The pause between two steps, each of which looks at some thousand keys.
const STEP: Duration = Duration::from_secs(10);
/// The pause between two rounds.
const ROUND: Duration = Duration::from_hours(1);

/// Forgets, until it is dropped, what was last written longer ago than `retention`.
pub(crate) async fn forget(store: Arc<dyn Store>, clock: Arc<dyn Clock>, retention: Duration) {
    let mut from = Vec::new();
    loop {
        tokio::time::sleep(STEP).await;
        let Ok(until) = clock.now().checked_sub(retention) else {
            debug!(?retention, "nothing is that old");
            return;
        };
        match store.forget(until, std::mem::take(&mut from)).await {
            Ok(Some(next)) => from = next,
            Ok(None) => tokio::time::sleep(ROUND).await,
            Err(error) => warn!(%error, "what is old is not forgotten yet; it is tried again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::SystemClock,
        store::{
            conformance::fixture::{begun, commit, step},
            memory::MemoryStore,
        },
    };

    #[tokio::test(start_paused = true)]
    async fn what_is_younger_is_kept() {
        let store = Arc::new(MemoryStore::default());
        let known = begun(&*store, 0).await;
        commit(&*store, step(&known, 0, 0).window("k", 0, b"r")).await;
        let window = async || store.window(b"k".to_vec()).await.expect("memory answers");
        let within = Duration::from_mins(1);
        let day = forget(Arc::clone(&store) as _, Arc::new(SystemClock), Duration::from_hours(24));
        assert!(tokio::time::timeout(within, day).await.is_err(), "it goes on for ever");
        assert_eq!(window().await, Some(b"r".to_vec()));
        let at_once = forget(Arc::clone(&store) as _, Arc::new(SystemClock), Duration::ZERO);
        assert!(tokio::time::timeout(within, at_once).await.is_err(), "it goes on for ever");
        assert_eq!(window().await, None);
    }
}
