//! The identity of a partition.

use std::{fmt, sync::Arc};

use uuid::Uuid;

/// One partition. The ids of the cluster and the topic distinguish it from that of a topic created again under the same name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The cluster's id, as the broker names it.
    pub cluster: Arc<str>,
    /// The topic's id; nil if the broker is too old to report it.
    pub topic_id: Uuid,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}
