//! Waiting keys as operators see them, and the selection of keys to release.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    engine::{observe::OrphanCause, retry::waiting::key_of},
    model::PartitionId,
    store::{WaitingRow, WaitingState},
};

/// A waiting key: its first event and the number of its events. An element of `GET /waiting`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitingKey {
    /// The topic.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: i32,
    /// The Kafka key as text; `None` for an event without a key.
    pub(crate) key: Option<String>,
    /// The state of its first event: `retry`, `running` or `held`.
    pub(crate) state: &'static str,
    /// The offset of its first event.
    pub(crate) offset: i64,
    /// The number of failed attempts at the first event.
    pub(crate) attempts: u32,
    /// Since when the first event waits.
    pub(crate) since: Timestamp,
    /// When the first event is tried again; `None` while it is running or if only an operator releases it.
    pub(crate) due: Option<Timestamp>,
    /// The code of the last failure.
    pub(crate) error_code: String,
    /// The message of the last failure.
    pub(crate) error_message: String,
    /// The number of waiting events of the key, the first one included.
    pub(crate) events: usize,
    /// Why the partition is orphaned, if it is: this instance does not try the key until that changes.
    pub(crate) orphaned: Option<OrphanCause>,
}

impl WaitingKey {
    /// Groups waiting events by key. `rows` are in the order of partitions and offsets; `orphaned` returns why
    /// a partition is orphaned, if it is.
    pub(crate) fn of(
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

/// A selection of waiting keys. A field that is not given matches everything; all keys must be requested explicitly.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct KeySelection {
    /// The Kafka key.
    #[arg(conflicts_with = "all")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// Only keys of this topic.
    #[arg(long, value_name = "TOPIC")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    /// Only keys of this partition.
    #[arg(long, value_name = "NUMBER")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<i32>,
    /// Every waiting key.
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) all: bool,
}

impl KeySelection {
    /// Whether it names a key or explicitly requests all keys.
    pub(crate) fn is_given(&self) -> bool {
        self.all || self.key.is_some()
    }

    /// Whether it selects all waiting events of an orphaned topic: it names a topic and no keys.
    pub(crate) fn is_of_topic(&self) -> bool {
        !self.is_given() && self.topic.is_some()
    }

    /// Whether it can select keys of this partition.
    pub(crate) fn takes_partition(&self, id: &PartitionId) -> bool {
        self.topic.as_deref().is_none_or(|topic| topic == &*id.topic)
            && self.partition.is_none_or(|partition| partition == id.partition)
    }

    /// Whether it selects this key queue.
    pub(crate) fn takes_queue(&self, queue: &[u8]) -> bool {
        self.key.as_ref().is_none_or(|key| key_of(queue) == Some(key.as_bytes()))
    }
}

/// The action on the first event of a released key. The events behind it follow in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The event is tried again at once.
    Retry,
    /// The event becomes a dead letter.
    DeadLetter,
}

impl Release {
    /// The last segment of its route.
    pub(crate) const fn route(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::DeadLetter => "dead-letter",
        }
    }

    /// Its name in the audit.
    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::Retry => "waiting_retry",
            Self::DeadLetter => "waiting_dead_letter",
        }
    }
}

/// The result of a release, as the routes answer it and the commands print it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Released {
    /// The number of keys of which the first event was released.
    #[serde(rename = "released")]
    Keys(u64),
    /// The number of events of an orphaned topic that became dead letters.
    #[serde(rename = "events")]
    Events(u64),
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
