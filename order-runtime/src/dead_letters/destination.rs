//! The destination of a replayed letter: its topic may have been deleted, or recreated with other offsets and fewer partitions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{DeadLetterError, Letter, Source};
use crate::{
    broker::TopicState,
    model::{OutgoingRecord, PartitionId, TopicPattern},
    store::Store,
};

/// The current state of the topics that letters came from.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    cluster: Arc<str>,
    topics: BTreeMap<Arc<str>, TopicState>,
    /// The positions of the service, from the store.
    positions: BTreeMap<PartitionId, i64>,
}

/// Where a replayed record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// To the partition that it came from; if the letter names none, the key chooses the partition.
    AsBefore,
    /// The partition no longer exists; the key chooses another one.
    ByKey,
    /// Its topic no longer exists.
    NoTopic,
}

impl Destinations {
    /// Reads the positions of the service, which show the records that it has read.
    pub(super) async fn new(store: Option<&dyn Store>) -> Result<Self, DeadLetterError> {
        let positions = match store {
            Some(store) => store.positions().await?.into_iter().collect(),
            None => BTreeMap::new(),
        };
        Ok(Self { positions, ..Self::default() })
    }

    /// Looks up topics that are not known yet on the cluster. `read` are the topics that the service reads; others are skipped.
    pub(super) async fn look_up(
        &mut self,
        source: &dyn Source,
        letters: &[Letter],
        read: &[TopicPattern],
    ) -> Result<(), DeadLetterError> {
        let names = letters.iter().filter_map(|letter| letter.origin.topic.as_deref());
        let names: BTreeSet<Arc<str>> = names
            .filter(|name| !self.topics.contains_key(*name) && TopicPattern::any_matches(read, name))
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

    /// Sets the record's partition by the letter's route, and returns the route.
    pub(super) fn direct(&self, letter: &Letter, record: &mut OutgoingRecord) -> Route {
        let route = self.route(letter);
        if route == Route::ByKey {
            record.partition = None;
        }
        route
    }

    /// Whether the service has read the record that a letter was made from: its position in the current topic of that name is
    /// beyond the record. If the topic's id is unknown, a position in any topic of that name counts.
    pub(super) fn was_read(&self, letter: &Letter) -> bool {
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
