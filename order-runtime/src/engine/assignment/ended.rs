//! Notes in the store that partition owners have ended in order, so that their events are not suspected of killing the process.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{model::PartitionId, store::Store};

/// The minimum time that the store gets for its answer.
const ANSWER: Duration = Duration::from_millis(500);

/// Notes in the store that these assignments have ended, whether their batch was finished in time or not. If the store does
/// not answer by `limit`, or within 500 ms if that is later, the function returns and a background task continues to ask.
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
            Err(error) => debug!(%error, "failed to note in the store that partition owners ended in order"),
        }
    }
    warn!("the store does not answer; partition owners that ended in order will count as dead");
}
