//! What an operator sees of keys that wait, and how they are released.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    engine::{observe::OrphanCause, retry::waiting::key_of},
    model::PartitionId,
    store::{WaitingRow, WaitingState},
};

/// One key that waits: its first event, and how many there are. An element of `GET /waiting`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingKey {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The Kafka key, as text; none for an event without one.
    pub key: Option<String>,
    /// What its first event waits for.
    pub state: &'static str,
    /// Where its first event lies.
    pub offset: i64,
    /// Failed attempts at the first event.
    pub attempts: u32,
    /// Since when it waits.
    pub since: Timestamp,
    /// When it is tried again; none where only an operator releases it.
    pub due: Option<Timestamp>,
    /// The code of the last failure.
    pub error_code: String,
    /// The message of the last failure.
    pub error_message: String,
    /// Events of the key that wait, the first one included.
    pub events: usize,
    /// Why no assignment brings its partition here, where none does: nobody tries the key until that changes.
    pub orphaned: Option<OrphanCause>,
}

impl WaitingKey {
    /// The keys of waiting events that come in the order of their partitions and offsets. `orphaned` says which partitions are.
    pub fn of(
        rows: Vec<(PartitionId, WaitingRow)>,
        orphaned: impl Fn(&PartitionId) -> Option<OrphanCause>,
    ) -> Vec<Self> {
        let mut keys: Vec<Self> = Vec::new();
        let mut places: BTreeMap<(PartitionId, Vec<u8>), usize> = BTreeMap::new();
        for (partition, row) in rows {
            let place = *places.entry((partition.clone(), row.queue.clone())).or_insert_with(|| {
                keys.push(Self { orphaned: orphaned(&partition), ..Self::first(&partition, &row) });
                keys.len() - 1
            });
            keys[place].events += 1;
        }
        keys
    }

    fn first(partition: &PartitionId, row: &WaitingRow) -> Self {
        let (state, due) = match row.state {
            WaitingState::Retry => ("retry", Some(row.due)),
            WaitingState::Behind | WaitingState::Running => ("running", None),
            WaitingState::Held(_) => ("held", None),
        };
        Self {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            key: row.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()),
            state,
            offset: row.offset,
            attempts: row.attempts,
            since: row.since,
            due,
            error_code: row.error_code.clone(),
            error_message: row.error_message.clone(),
            events: 0,
            orphaned: None,
        }
    }
}

/// Which waiting keys are meant; what is not given is any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KeySelection {
    /// The Kafka key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// Every key, which nobody says by saying nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl KeySelection {
    /// Whether it says anything.
    pub fn is_given(&self) -> bool {
        self.all || self.key.is_some()
    }

    /// Whether it means everything that waits of an orphaned topic: it names a topic and no keys.
    pub fn is_of_topic(&self) -> bool {
        !self.is_given() && self.topic.is_some()
    }

    /// Whether keys of this partition may be meant.
    pub(crate) fn takes_partition(&self, id: &PartitionId) -> bool {
        self.topic.as_deref().is_none_or(|topic| topic == &*id.topic)
            && self.partition.is_none_or(|partition| partition == id.partition)
    }

    /// Whether this queue is meant.
    pub(crate) fn takes_queue(&self, queue: &[u8]) -> bool {
        self.key.as_ref().is_none_or(|key| key_of(queue) == Some(key.as_bytes()))
    }
}

/// What becomes of the first event of a released key; what is behind it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It is tried again at once.
    Retry,
    /// It becomes a dead letter.
    DeadLetter,
}

#[cfg(test)]
mod tests {
    use crate::engine::partition::release::*;
    use crate::store::conformance::fixture::{partition, waiting};

    #[test]
    fn a_key_is_its_first_event_and_a_count() {
        let row = |offset, queue: &[u8], state| WaitingRow { queue: queue.to_vec(), state, ..waiting(offset) };
        let rows = vec![
            (partition(0), row(1, b"\x01a", WaitingState::Retry)),
            (partition(0), row(2, b"\x01b", WaitingState::Running)),
            (partition(0), row(3, b"\x01a", WaitingState::Behind)),
            (partition(1), row(9, b"\x01a", WaitingState::Retry)),
        ];
        let keys = WaitingKey::of(rows, |id| (id.partition == 1).then_some(OrphanCause::NotConfigured));
        let orphaned: Vec<_> = keys.iter().map(|key| key.orphaned).collect();
        assert_eq!(orphaned, [None, None, Some(OrphanCause::NotConfigured)]);
        let seen: Vec<_> = keys.iter().map(|key| (key.partition, key.offset, key.state, key.events)).collect();
        assert_eq!(seen, [(0, 1, "retry", 2), (0, 2, "running", 1), (1, 9, "retry", 1)]);
    }

    #[test]
    fn a_selection_takes_what_it_names() {
        let named = KeySelection { key: Some("a".into()), partition: Some(1), ..KeySelection::default() };
        assert!(named.is_given() && named.takes_partition(&partition(1)) && !named.takes_partition(&partition(0)));
        assert!(named.takes_queue(b"\x01a") && !named.takes_queue(b"\x01ab") && !named.takes_queue(b"\x00a"));
        assert!(!KeySelection { partition: Some(1), ..KeySelection::default() }.is_given());
        let topic = KeySelection { topic: Some("t".into()), ..KeySelection::default() };
        assert!(topic.is_of_topic() && !KeySelection { all: true, ..topic }.is_of_topic() && !named.is_of_topic());
        assert!(serde_json::from_str::<KeySelection>(r#"{"keys": "a"}"#).is_err());
    }
}
