//! Owners that have ended without dying: only events that kill the process may be suspected of that.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{model::PartitionId, store::Store};

/// How long the store may at least take for its answer.
const ANSWER: Duration = Duration::from_millis(500);

/// Notes in the store that these assignments have ended, whether their batch was finished in time or not. Where the store
/// does not answer by `limit`, it is asked again later; the group waits no longer for that.
pub(crate) async fn note(store: &Arc<dyn Store>, ended: Vec<(PartitionId, i64)>, limit: Instant) {
    if ended.is_empty() {
        return;
    }
    let noted = tokio::spawn(note_until_answered(Arc::clone(store), ended));
    let _ = tokio::time::timeout_at(limit.max(Instant::now() + ANSWER), noted).await;
}

async fn note_until_answered(store: Arc<dyn Store>, ended: Vec<(PartitionId, i64)>) {
    for delay in [0, 1, 2, 4, 8, 16, 32] {
        tokio::time::sleep(Duration::from_secs(delay)).await;
        match store.ended(&ended).await {
            Ok(()) => return,
            Err(error) => debug!(%error, "that partitions were given back in order is not noted yet"),
        }
    }
    warn!("the store does not answer; partitions that were given back in order count as if their owner had died");
}
