//! Waiting events whose topic is gone: made anew, no longer configured, or of an embedded broker that was started again.
//!
//! Nobody will ever be assigned their partition, so nobody would give them their turn. They become dead letters, in order.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::{Notify, mpsc};
use tracing::{error, warn};

use super::{Engine, batch::Partition, owner::Owner, status::PartitionStatus};
use crate::broker::PartitionId;

/// Dead-letters what waits of topics that are gone; `assigned` are partitions that are there now.
pub(super) async fn dead_letter_orphans(engine: Arc<Engine>, assigned: Vec<PartitionId>) {
    let known = match engine.store.positions().await {
        Ok(known) => known,
        // The next assignment looks again.
        Err(error) => return warn!(%error, "whether events wait whose topic is gone is not known"),
    };
    let gone: BTreeSet<PartitionId> =
        known.into_iter().map(|(id, _)| id).filter(|id| is_gone(id, &assigned, &engine.settings.topics)).collect();
    for id in gone {
        let stored = match engine.store.reload(&id).await {
            Ok(Some(stored)) if !stored.waiting.is_empty() => stored,
            Ok(_) => continue,
            Err(error) => {
                warn!(partition = %id, %error, "whether events of a topic that is gone wait is not known");
                continue;
            }
        };
        error!(
            partition = %id,
            events = stored.waiting.len(),
            "events wait whose topic is gone; they become dead letters with the code `source_gone`"
        );
        let status = Arc::new(PartitionStatus::new(Arc::new(id.clone()), stored.next_offset, engine.clock.now()));
        let partition = Partition::new(Arc::new(id), Arc::clone(&engine), status);
        // Nobody sends it anything: it does one thing and ends.
        let (_, controls) = mpsc::unbounded_channel();
        Owner::new(partition, stored, controls, Arc::new(Notify::new())).give_up().await;
    }
}

/// Whether a partition that the store knows is no longer there. What cannot be told from the assigned ones counts as there.
fn is_gone(id: &PartitionId, assigned: &[PartitionId], topics: &[String]) -> bool {
    let Some(any) = assigned.first() else { return false };
    if id.cluster != any.cluster || !is_configured(&id.topic, topics) {
        return true;
    }
    assigned.iter().any(|known| known.topic == id.topic && known.topic_id != id.topic_id)
}

fn is_configured(topic: &str, topics: &[String]) -> bool {
    topics.iter().any(|configured| {
        if configured.starts_with('^') {
            // A pattern that this library does not read may well be one that librdkafka does.
            regex_lite::Regex::new(configured).map_or(true, |pattern| pattern.is_match(topic))
        } else {
            configured == topic
        }
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(cluster: &str, topic: &str, topic_id: u128) -> PartitionId {
        PartitionId { cluster: cluster.into(), topic: topic.into(), topic_id: Uuid::from_u128(topic_id), partition: 0 }
    }

    #[test]
    fn a_topic_is_gone_when_another_is_in_its_place() {
        let topics = ["things".to_owned(), "^eu-.*".to_owned()];
        let assigned = [id("now", "things", 1), id("now", "eu-1", 2)];
        let gone = |id| is_gone(&id, &assigned, &topics);
        assert!(!gone(id("now", "things", 1)), "it is there");
        assert!(!gone(id("now", "eu-2", 9)), "another member may have it");
        assert!(gone(id("now", "things", 7)), "made anew");
        assert!(gone(id("earlier", "things", 1)), "of another cluster");
        assert!(gone(id("now", "others", 3)), "no longer configured");
        assert!(!is_gone(&id("earlier", "things", 1), &[], &topics), "nothing is known yet");
    }
}
