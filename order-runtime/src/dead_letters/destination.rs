//! Where a letter goes back to: its topic may have been deleted, or made anew with other offsets and fewer partitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{DeadLetterError, Letter, Source};
use crate::{
    broker::TopicState,
    config,
    model::{OutgoingRecord, PartitionId},
    store::Store,
};

/// The topics that letters came from, as they are now.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    cluster: Arc<str>,
    topics: BTreeMap<Arc<str>, TopicState>,
    /// The positions of the service.
    positions: BTreeMap<PartitionId, i64>,
}

/// What becomes of a record that goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// It goes to the partition that it came from, or that its key chooses where it does not say.
    AsBefore,
    /// That partition no longer exists; its key chooses another one.
    ByKey,
    /// Its topic no longer exists.
    NoTopic,
}

impl Destinations {
    /// Reads the positions of the service, which say what it has read.
    pub(super) async fn new(store: Option<&dyn Store>) -> Result<Self, DeadLetterError> {
        let positions = match store {
            Some(store) => store.positions().await?.into_iter().collect(),
            None => BTreeMap::new(),
        };
        Ok(Self { positions, ..Self::default() })
    }

    /// Asks the cluster about topics that were not met before. `read` are the topics that the service reads: others are not asked about.
    pub(super) async fn learn(
        &mut self,
        source: &dyn Source,
        letters: &[Letter],
        read: &[String],
    ) -> Result<(), DeadLetterError> {
        let names = letters.iter().filter_map(|letter| letter.origin.topic.as_deref());
        let names: BTreeSet<Arc<str>> = names
            .filter(|name| !self.topics.contains_key(*name) && read.iter().any(|entry| config::is_topic(entry, name)))
            .map(Arc::from)
            .collect();
        if !names.is_empty() {
            let answer = source.topics(names).await?;
            self.cluster = answer.cluster;
            self.topics.extend(answer.topics);
        }
        Ok(())
    }

    /// The route of a letter.
    pub(super) fn route(&self, letter: &Letter) -> Route {
        let state = letter.origin.topic.as_deref().and_then(|topic| self.topics.get(topic));
        match (state, letter.origin.partition) {
            (Some(TopicState::Absent), _) => Route::NoTopic,
            (Some(TopicState::Exists { partitions, .. }), Some(partition)) if partition >= *partitions => Route::ByKey,
            _ => Route::AsBefore,
        }
    }

    /// Sends a record where its letter's route leads.
    pub(super) fn direct(&self, letter: &Letter, record: &mut OutgoingRecord) -> Route {
        let route = self.route(letter);
        if route == Route::ByKey {
            record.partition = None;
        }
        route
    }

    /// Whether the service has read the record that a letter was made of: its position in the topic that has the name now is beyond it.
    /// Where the cluster does not tell the topic's id, any topic of the name counts.
    pub(super) fn had(&self, letter: &Letter) -> bool {
        let origin = &letter.origin;
        let (Some(topic), Some(partition), Some(offset)) = (origin.topic.as_deref(), origin.partition, origin.offset)
        else {
            return false;
        };
        let is_now = |id: &PartitionId| match self.topics.get(topic) {
            Some(TopicState::Exists { id: now, .. }) => id.cluster == self.cluster && id.topic_id == *now,
            _ => true,
        };
        let mut positions = self.positions.iter();
        positions.any(|(id, at)| *id.topic == *topic && id.partition == partition && is_now(id) && offset < *at)
    }
}
