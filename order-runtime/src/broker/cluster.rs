//! Questions that only the cluster can answer: which topics exist, and who reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use uuid::Uuid;

use super::BrokerError;
use crate::model::PartitionId;

/// The answer of a cluster to a question about topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTopics {
    /// The id of the cluster that has answered, as in [`PartitionId::cluster`](super::PartitionId::cluster).
    pub cluster: Arc<str>,
    /// The state of each topic that was asked about, by name.
    pub topics: BTreeMap<Arc<str>, TopicState>,
}

/// Whether a topic of a name exists, as far as the cluster says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicState {
    /// It exists.
    Exists {
        /// Its id; nil where the broker is too old to have topic ids.
        id: Uuid,
        /// The number of its partitions.
        partitions: i32,
    },
    /// The cluster says that no topic has this name.
    Absent,
    /// The cluster does not say whether it exists: permission denied, or an error.
    Unknown(String),
}

/// Asks the cluster.
#[async_trait]
pub trait ClusterMetadata: Send + Sync + 'static {
    /// The cluster's id and the state of these topics.
    ///
    /// # Errors
    /// When the cluster does not answer within some seconds; nothing is known then.
    async fn topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError>;

    /// The offset after the last record of a partition.
    ///
    /// # Errors
    /// When the partition's leader does not answer within some seconds.
    async fn log_end(&self, partition: &PartitionId) -> Result<i64, BrokerError>;

    /// Members of the consumer group that are assigned partitions of this topic, by client id and host.
    ///
    /// # Errors
    /// When the group's coordinator does not answer within some seconds, or refuses to.
    async fn readers(&self, topic: &str) -> Result<Vec<String>, BrokerError>;
}
