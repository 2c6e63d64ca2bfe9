//! Records that a log lost after they were produced, and the requirements for the records that replaced them.
//!
//! A member notices a truncation only while the log ends before the position. Records that are appended before a member is
//! notified may lie below the position by then, and no member can know that they were never read. A member that was notified
//! must read all records that follow while it keeps the partition.

use std::collections::BTreeMap;

use super::{
    journal::{LogReport, Notice},
    scenario::Event,
};
use crate::model::PartitionId;

/// A record that was produced.
#[derive(Debug, Clone)]
pub(super) struct Produced {
    pub(super) partition: PartitionId,
    pub(super) offset: i64,
    pub(super) event: Event,
    /// Why it need not be handled.
    pub(super) excused: Option<Excuse>,
}

/// Why a record need not be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excuse {
    /// The log lost it.
    Truncated,
    /// It was appended below a position that no member could know to be wrong.
    Unnoticed,
    /// Its topic was deleted.
    TopicGone,
}

/// A truncation after which the position is not known to be corrected.
#[derive(Debug)]
struct Window {
    /// The end of the log at the last report to a member; all records from here on must be read.
    cut: i64,
    /// The end of the log before the truncation.
    until: i64,
    /// The assignment whose owner was notified.
    tenure: Option<u64>,
}

#[derive(Default)]
pub(super) struct Losses {
    windows: BTreeMap<PartitionId, Window>,
}

impl Losses {
    /// Whether the position of a partition may still be beyond the end of its log.
    pub(super) fn is_open(&self, partition: &PartitionId) -> bool {
        self.windows.contains_key(partition)
    }

    /// Notes that a log has lost its records from `cut` on; it ended at `until` before.
    pub(super) fn truncated(&mut self, records: &mut [Produced], partition: &PartitionId, cut: i64, until: i64) {
        for record in records {
            if record.partition == *partition && record.offset >= cut {
                record.excused.get_or_insert(Excuse::Truncated);
            }
        }
        self.windows.insert(partition.clone(), Window { cut, until, tenure: None });
    }

    /// Notes that a topic was deleted.
    pub(super) fn deleted(&mut self, records: &mut [Produced], partition: &PartitionId) {
        for record in records.iter_mut().filter(|record| record.partition == *partition) {
            record.excused = Some(Excuse::TopicGone);
        }
        self.windows.remove(partition);
    }

    /// Processes the new notices of the journal.
    pub(super) fn follow(&mut self, records: &mut [Produced], notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                Notice::LogReport(report) => self.report(records, &report),
                Notice::Moved { partition, to } => self.moved(&partition, to),
            }
        }
    }

    /// Notes that a position was set. If it is not beyond the cut, the truncation is handled.
    fn moved(&mut self, partition: &PartitionId, to: i64) {
        if self.windows.get(partition).is_some_and(|window| to <= window.cut) {
            self.windows.remove(partition);
        }
    }

    /// Notes that the end of a log was reported to a member.
    fn report(&mut self, records: &mut [Produced], reported: &LogReport) {
        let LogReport { partition, log_end, position, tenure } = reported;
        let Some(window) = self.windows.get_mut(partition) else { return };
        // The member was notified before, so records that it has not read since are not excused.
        if window.tenure == Some(*tenure) {
            return;
        }
        if *position <= window.cut && window.tenure.is_none() {
            // No record was read beyond the cut; a running batch may still move the position there.
            window.tenure = Some(*tenure);
            return;
        }
        let (cut, below) = (window.cut, (*log_end).min(window.until));
        for record in records.iter_mut().filter(|record| record.partition == *partition) {
            if (cut..below).contains(&record.offset) && record.excused.is_none() {
                record.excused = Some(Excuse::Unnoticed);
            }
        }
        if *log_end >= window.until {
            self.windows.remove(partition);
        } else {
            *window = Window { cut: *log_end, until: window.until, tenure: Some(*tenure) };
        }
    }
}
