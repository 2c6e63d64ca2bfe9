//! Requests that only the cluster can answer: which topics exist, and which group members read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use uuid::Uuid;

use super::BrokerError;
use crate::model::PartitionId;

/// The answer of a cluster to a request about topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterTopics {
    /// The id of the cluster that has answered, as in [`PartitionId::cluster`](super::PartitionId::cluster).
    pub(crate) cluster: Arc<str>,
    /// The state of each requested topic, by name.
    pub(crate) topics: BTreeMap<Arc<str>, TopicState>,
}

/// Whether a topic exists, as reported by the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicState {
    /// It exists.
    Exists {
        /// Its id; nil if the broker is too old to have topic ids.
        id: Uuid,
        /// The number of its partitions.
        partitions: i32,
    },
    /// The cluster reports that no topic has this name.
    Absent,
    /// The cluster does not report whether it exists: permission denied, or an error.
    Unknown(String),
}

/// Requests metadata from the cluster.
#[async_trait]
pub(crate) trait ClusterMetadata: Send + Sync + 'static {
    /// The cluster's id and the state of these topics.
    ///
    /// # Errors
    /// When the cluster does not answer within some seconds. The state of the topics is then unknown.
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
