//! Requests to the cluster, sent by a separate client so that they never wait behind records.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    groups::GroupMemberInfo,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    ffi::{self, Described},
    group::{GroupMember, GroupView},
    log_throttle::{KafkaLogThrottle, Unreached},
    settings,
};
use crate::{
    broker::{BrokerError, ClusterTopics, PartitionOffer, TopicState, embedded},
    config::KafkaConfig,
    model::{PartitionId, TopicPattern},
};

/// The time limit of one request.
const ANSWER: Duration = Duration::from_secs(5);

/// The time limit of a request that only checks whether a broker answers.
const ALIVE: Duration = Duration::from_secs(1);

/// The identity of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id. A broker that is too old to have one is identified by its addresses.
    pub cluster: Arc<str>,
    /// Whether it is the embedded development broker of this process or of another one.
    pub embedded: bool,
}

/// A client for requests about the cluster and its topics.
pub struct MetadataClient {
    client: BaseConsumer<Quiet>,
    config: KafkaConfig,
    topics: Mutex<HashMap<String, (Arc<str>, Uuid)>>,
    /// Whether the cluster is an embedded broker; `None` until the first request. Such a broker has no topic ids and answers no
    /// admin request. Its own id is new with each start.
    is_embedded: Mutex<Option<bool>>,
}

/// A client context that throttles librdkafka's log.
#[derive(Debug, Default)]
pub(super) struct Quiet(KafkaLogThrottle);

impl Quiet {
    fn unreached(&self) -> Option<Unreached> {
        self.0.unreached()
    }
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.0.log(level, kind, line);
    }

    fn error(&self, _: KafkaError, _: &str) {
        // The caller of the request gets the error as its result.
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Quiet {}

impl MetadataClient {
    /// Creates the client without connecting.
    ///
    /// # Errors
    /// When librdkafka rejects the properties.
    pub fn new(config: &KafkaConfig) -> Result<Self, BrokerError> {
        let client = settings::metadata(config)
            .create_with_context(Quiet::default())
            .map_err(|error| BrokerError::creation(&error, config))?;
        Ok(Self { client, config: config.clone(), topics: Mutex::default(), is_embedded: Mutex::default() })
    }

    /// The ends of these partitions' logs, each before its first open transaction.
    ///
    /// # Errors
    /// When a partition's leader does not answer within five seconds.
    pub(super) fn ends(&self, partitions: TopicPartitionList) -> KafkaResult<TopicPartitionList> {
        self.client.offsets_for_times(partitions, ANSWER)
    }

    /// Requests the identity of the cluster.
    ///
    /// # Errors
    /// When no broker answers within five seconds.
    pub fn identity(&self) -> Result<Identity, BrokerError> {
        let topics = self.client.fetch_metadata(None, ANSWER).map_err(|error| {
            if self.is_refused() {
                BrokerError::Refused { brokers: self.config.brokers.clone() }
            } else {
                self.unreachable(error)
            }
        })?;
        // The embedded broker's own cluster id is a memory address. Its id is part of a topic name, because the protocol has
        // no other place for it.
        if let Some(id) = topics.topics().iter().find_map(|topic| embedded::identity(topic.name())) {
            *self.is_embedded.lock() = Some(true);
            return Ok(Identity { cluster: id.into(), embedded: true });
        }
        *self.is_embedded.lock() = Some(false);
        let cluster = self.client.client().fetch_cluster_id(ANSWER).unwrap_or_else(|| self.config.brokers.clone());
        Ok(Identity { cluster: cluster.into(), embedded: false })
    }

    /// The error if no broker answers. A broker may answer at the configured address, but advertise one that cannot be reached.
    fn unreachable(&self, error: KafkaError) -> BrokerError {
        match self.client.context().unreached() {
            Some(unreached) => {
                BrokerError::Advertised { brokers: self.config.brokers.clone(), unreached: unreached.to_string() }
            }
            None => BrokerError::unreachable(&self.config, error),
        }
    }

    /// The members of the group, as its coordinator reports them; `None` if it has no such group.
    ///
    /// # Errors
    /// When the coordinator does not answer within five seconds.
    pub(super) fn group(&self) -> KafkaResult<Option<GroupView>> {
        let groups = self.client.fetch_group_list(Some(&self.config.group_id), ANSWER)?;
        let found = groups.groups().iter().find(|group| group.name() == self.config.group_id);
        Ok(found.map(|group| {
            let member = |member: &GroupMemberInfo| GroupMember {
                client: member.client_id().to_owned(),
                host: member.client_host().to_owned(),
                has_assignment: member.assignment().is_some_and(|assignment| !assignment.is_empty()),
            };
            GroupView { protocol: group.protocol().to_owned(), members: group.members().iter().map(member).collect() }
        }))
    }

    /// Whether a broker has rejected the credentials. A request that fails for this reason only reports that there is no answer.
    fn is_refused(&self) -> bool {
        let reported = std::iter::from_fn(|| self.client.poll(Duration::ZERO));
        let refusals = reported.filter(|reported| {
            let code = reported.as_ref().err().and_then(KafkaError::rdkafka_error_code);
            code == Some(RDKafkaErrorCode::Authentication)
        });
        // All of them are consumed, so that none counts for a later request.
        refusals.count() > 0
    }

    /// Whether a broker answers within a second.
    pub(super) fn answers(&self, topics: &[TopicPattern]) -> bool {
        self.client.fetch_metadata(topics.first().map(TopicPattern::as_str), ALIVE).is_ok()
    }

    /// The number of partitions of a topic; `None` if it does not exist.
    ///
    /// # Errors
    /// When no broker answers within five seconds.
    pub fn partitions(&self, topic: &str) -> Result<Option<usize>, BrokerError> {
        let metadata = self.client.fetch_metadata(Some(topic), ANSWER).map_err(|error| self.unreachable(error))?;
        let count = metadata.topics().iter().find(|known| known.name() == topic).map_or(0, |t| t.partitions().len());
        Ok((count > 0).then_some(count))
    }

    /// The first offset of a partition's log, and the offset after its last record.
    ///
    /// # Errors
    /// When the partition's leader does not answer within five seconds.
    pub fn log(&self, topic: &str, partition: i32) -> Result<(i64, i64), BrokerError> {
        self.client
            .fetch_watermarks(topic, partition, ANSWER)
            .map_err(|error| BrokerError::request("the offsets of a log", error))
    }

    /// The offset of a partition's first record at or after `time`, in milliseconds since the epoch; `None` if there is none.
    ///
    /// # Errors
    /// When the partition's leader does not answer within five seconds.
    pub fn offset_at(&self, topic: &str, partition: i32, time: i64) -> Result<Option<i64>, BrokerError> {
        let failed = |error| BrokerError::request("the offset of a time", error);
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition_offset(topic, partition, Offset::Offset(time)).map_err(failed)?;
        let found = self.client.offsets_for_times(asked, ANSWER).map_err(failed)?;
        Ok(found.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    /// The state of partitions to be assigned: one offer each, in the same order.
    ///
    /// # Errors
    /// When one of the requests is not answered within five seconds, or not all of them before the deadline, if there is one.
    pub(crate) fn offers(
        &self,
        cluster: &Arc<str>,
        partitions: &[(String, i32)],
        deadline: Option<Instant>,
    ) -> Result<Vec<PartitionOffer>, BrokerError> {
        let mut wanted = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            wanted
                .add_partition_offset(topic, *partition, Offset::Invalid)
                .map_err(|error| BrokerError::request("committed offsets", error))?;
        }
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        self.learn_topics(partitions)?;
        let committed = self
            .client
            .committed_offsets(wanted, ANSWER)
            .map_err(|error| BrokerError::request("committed offsets", error))?;
        let committed: HashMap<_, _> = ffi::committed(&committed)
            .into_iter()
            .map(|found| ((found.topic.clone(), found.partition), found))
            .collect();
        partitions
            .iter()
            .map(|(topic, partition)| {
                if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                    return Err(BrokerError::request("the offsets of all logs", "the answers take too long"));
                }
                let (log_start, log_end) = self.log(topic, *partition)?;
                let committed = committed.get(&(topic.clone(), *partition));
                Ok(PartitionOffer {
                    id: self.partition_id(cluster, topic, *partition),
                    log_start,
                    log_end,
                    committed: committed.and_then(|found| found.offset),
                    committed_metadata: committed.map(|found| found.metadata.clone()).unwrap_or_default(),
                    ready: Arc::default(),
                })
            })
            .collect()
    }

    /// The identity of a partition. Its topic id is the one from the last offer.
    fn partition_id(&self, cluster: &Arc<str>, topic: &str, partition: i32) -> PartitionId {
        let mut topics = self.topics.lock();
        let (topic, topic_id) =
            topics.entry(topic.to_owned()).or_insert_with(|| (Arc::from(topic), Uuid::nil())).clone();
        PartitionId { cluster: Arc::clone(cluster), topic_id, topic, partition }
    }

    /// Requests the ids of topics. A topic without its id must not be mistaken for another one: its partitions would begin anew.
    fn learn_topics(&self, partitions: &[(String, i32)]) -> Result<(), BrokerError> {
        if self.is_embedded()? {
            return Ok(());
        }
        // Requested each time: a topic that was deleted and created again has another id.
        let names: BTreeSet<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
        let mut described = self.describe(&names)?;
        for name in names {
            let id = match described.remove(name) {
                Some(Described::Exists { id, .. }) => id,
                Some(Described::Absent) => return Err(BrokerError::UnknownTopic(name.to_owned())),
                Some(Described::Failed(reason)) => return Err(BrokerError::request("the ids of topics", reason)),
                None => return Err(BrokerError::request("the ids of topics", UNMENTIONED)),
            };
            self.topics.lock().insert(name.to_owned(), (Arc::from(name), id));
        }
        Ok(())
    }

    /// Whether the cluster is an embedded broker; requested once.
    fn is_embedded(&self) -> Result<bool, BrokerError> {
        let known = *self.is_embedded.lock();
        known.map_or_else(|| self.identity().map(|identity| identity.embedded), Ok)
    }

    fn describe(&self, topics: &BTreeSet<&str>) -> Result<HashMap<String, Described>, BrokerError> {
        ffi::describe_topics(self.client.client(), topics, ANSWER)
            .map_err(|error| BrokerError::request("the ids of topics", error))
    }

    /// The cluster's id and the state of these topics, both from fresh answers.
    ///
    /// # Errors
    /// When the cluster does not answer within some seconds.
    pub(crate) fn cluster_topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        if self.is_embedded()? {
            return self.embedded_topics(names);
        }
        let cluster = ffi::cluster_id(self.client.client(), ANSWER)
            .map_err(|error| BrokerError::request("the cluster's id", error))?
            .unwrap_or_else(|| self.config.brokers.clone());
        let mut described = self.describe(&names.iter().map(|name| &**name).collect())?;
        let state = |name: &str| match described.remove(name) {
            Some(Described::Exists { id, partitions }) => {
                TopicState::Exists { id, partitions: i32::try_from(partitions).unwrap_or(i32::MAX) }
            }
            Some(Described::Absent) => TopicState::Absent,
            Some(Described::Failed(reason)) => TopicState::Unknown(reason),
            None => TopicState::Unknown(UNMENTIONED.to_owned()),
        };
        let topics = names.into_iter().map(state_of(state)).collect();
        Ok(ClusterTopics { cluster: cluster.into(), topics })
    }

    /// Like [`cluster_topics`](Self::cluster_topics), for an embedded broker, which only lists its topics.
    fn embedded_topics(&self, names: BTreeSet<Arc<str>>) -> Result<ClusterTopics, BrokerError> {
        let metadata = self.client.fetch_metadata(None, ANSWER).map_err(|error| self.unreachable(error))?;
        let cluster =
            metadata.topics().iter().find_map(|topic| embedded::identity(topic.name())).ok_or_else(|| {
                BrokerError::request("the embedded broker's id", "another broker uses its address now")
            })?;
        let state = |name: &str| match metadata.topics().iter().find(|topic| topic.name() == name) {
            Some(topic) => TopicState::Exists {
                id: Uuid::nil(),
                partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
            },
            None => TopicState::Absent,
        };
        let topics = names.into_iter().map(state_of(state)).collect();
        Ok(ClusterTopics { cluster: cluster.into(), topics })
    }

    /// Members of the group that are assigned partitions of the topic, by client id and host; none from an embedded broker.
    ///
    /// # Errors
    /// When the group's coordinator does not answer within some seconds, or refuses to.
    pub(super) fn readers(&self, topic: &str) -> Result<Vec<String>, BrokerError> {
        if self.is_embedded()? {
            return Ok(Vec::new());
        }
        let members = ffi::group_members(self.client.client(), &self.config.group_id, ANSWER)
            .map_err(|error| BrokerError::request("the members of the group", error))?;
        let readers = members.into_iter().filter(|member| member.topics.contains(topic));
        Ok(readers.map(|member| format!("{} at {}", member.client_id, member.host.trim_start_matches('/'))).collect())
    }
}

/// The reason for a topic that is missing in an answer.
const UNMENTIONED: &str = "the answer does not mention the topic";

/// Pairs a name with its state.
fn state_of(mut state: impl FnMut(&str) -> TopicState) -> impl FnMut(Arc<str>) -> (Arc<str>, TopicState) {
    move |name| {
        let state = state(&name);
        (name, state)
    }
}

impl std::fmt::Debug for MetadataClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetadataClient").field("brokers", &self.config.brokers).finish_non_exhaustive()
    }
}
