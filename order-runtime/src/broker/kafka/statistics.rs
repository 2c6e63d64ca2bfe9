//! What is read from librdkafka's statistics: hundreds of numbers, of which few questions are asked
//! (<https://github.com/confluentinc/librdkafka/blob/master/STATISTICS.md>).

use std::collections::HashMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(super) struct Statistics {
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
    pub(super) cgrp: Option<Group>,
}

/// The group, as this member sees it.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    join_state: String,
    assignment_size: u32,
}

#[derive(Debug, Deserialize)]
struct Broker {
    state: String,
    nodeid: i64,
}

#[derive(Debug, Deserialize)]
struct Topic {
    /// By number.
    partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct PartitionStatistics {
    /// To where has been fetched; negative where nothing was.
    #[serde(rename = "next_offset")]
    position: i64,
    /// The end of what may be read.
    #[serde(rename = "ls_offset")]
    stable_end: i64,
    /// The end of the log.
    #[serde(rename = "hi_offset", default)]
    log_end: i64,
}

/// How far a partition was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FetchProgress {
    /// To where has been fetched.
    pub(super) position: i64,
    /// The end of what may be read: before the first open transaction.
    pub(super) stable_end: i64,
    /// Whether all that may be read has been fetched, and a transaction keeps the rest back.
    pub(super) waits_for_transaction: bool,
}

impl Statistics {
    /// Whether any broker is connected. The group's coordinator is a second one, without a number.
    pub(super) fn is_connected(&self) -> bool {
        self.brokers.values().any(|broker| broker.state == "UP" && broker.nodeid >= 0)
    }

    /// To where a partition has been fetched, and to where it may be read.
    pub(super) fn fetched(&self, topic: &str, partition: i32) -> Option<FetchProgress> {
        let PartitionStatistics { position, stable_end, log_end } =
            *self.topics.get(topic)?.partitions.get(&partition.to_string())?;
        let waits_for_transaction = stable_end >= 0 && position >= stable_end && log_end > stable_end;
        (position >= 0).then_some(FetchProgress { position, stable_end, waits_for_transaction })
    }
}

impl Group {
    /// Whether the member has its assignment.
    pub(super) fn is_steady(&self) -> bool {
        self.join_state == "steady"
    }

    /// Whether the group has more members than partitions and this one has none: nobody is called back for that.
    pub(super) fn has_nothing(&self) -> bool {
        self.is_steady() && self.assignment_size == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_found() {
        let text = br#"{"name": "n", "brokers": {
                "GroupCoordinator": {"state": "UP", "nodeid": -1}, "b:9092/1": {"state": "DOWN", "nodeid": 1}},
            "topics": {"things": {"partitions": {
                "0": {"next_offset": 12, "ls_offset": 14, "hi_offset": 20},
                "1": {"next_offset": 14, "ls_offset": 14, "hi_offset": 20},
                "2": {"next_offset": 14, "ls_offset": 14, "hi_offset": 14}, "-1": {"next_offset": -1001, "ls_offset": -1001}}}},
            "cgrp": {"join_state": "steady", "assignment_size": 0}}"#;
        let statistics: Statistics = serde_json::from_slice(text).expect("statistics");
        assert!(!statistics.is_connected(), "a coordinator alone answers no fetch");
        let progress = FetchProgress { position: 12, stable_end: 14, waits_for_transaction: false };
        assert_eq!(statistics.fetched("things", 0), Some(progress));
        assert!(statistics.fetched("things", 1).is_some_and(|progress| progress.waits_for_transaction));
        assert!(statistics.fetched("things", 2).is_some_and(|progress| !progress.waits_for_transaction));
        assert_eq!((statistics.fetched("things", -1), statistics.fetched("others", 0)), (None, None));
        assert!(statistics.cgrp.is_some_and(|group| group.is_steady() && group.has_nothing()));
    }
}
