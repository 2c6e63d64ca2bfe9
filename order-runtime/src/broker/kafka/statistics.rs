//! The few fields that are read from librdkafka's statistics
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
    /// By partition number.
    partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct PartitionStatistics {
    /// The next offset to fetch; negative if nothing was fetched.
    #[serde(rename = "next_offset")]
    position: i64,
    /// The last stable offset: the end of the readable log.
    #[serde(rename = "ls_offset")]
    stable_end: i64,
    /// The end of the log.
    #[serde(rename = "hi_offset", default)]
    log_end: i64,
}

/// The fetch progress of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FetchProgress {
    /// The next offset to fetch.
    pub(super) position: i64,
    /// The last stable offset: the end of the log before the first open transaction.
    pub(super) stable_end: i64,
    /// Whether everything readable has been fetched, and an open transaction holds back the rest.
    pub(super) waits_for_transaction: bool,
}

impl Statistics {
    /// Whether any broker is connected. The connection to the group's coordinator is listed separately, without a broker number,
    /// and does not count.
    pub(super) fn is_connected(&self) -> bool {
        self.brokers.values().any(|broker| broker.state == "UP" && broker.nodeid >= 0)
    }

    /// The fetch progress of a partition; `None` if nothing of it was fetched.
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

    /// Whether the member has an assignment without partitions, because the group has more members than partitions. No callback
    /// reports this.
    pub(super) fn has_nothing(&self) -> bool {
        self.is_steady() && self.assignment_size == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_needed_fields_are_found() {
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
