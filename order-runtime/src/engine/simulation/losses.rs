//! Records that a log lost after they were produced, and what may still be asked of those that took their places.
//!
//! A member notices a truncation only as long as the log ends before the position. What is appended before anybody is told may
//! lie below the position by then, and nobody can know that it was never read. Once a member was told, it must read everything that
//! follows, as long as it keeps the partition.

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
    /// Why nothing need become of it.
    pub(super) excused: Option<Excuse>,
}

/// Why nothing need become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excuse {
    /// The log lost it.
    Truncated,
    /// It was appended below a position that nobody could know to be wrong.
    Unnoticed,
    /// Its topic was deleted.
    TopicGone,
}

/// A truncation whose position is not known to be set right.
#[derive(Debug)]
struct Window {
    /// Where the log ended when somebody was told last; from here on everything must be read.
    cut: i64,
    /// Where the log ended before.
    until: i64,
    /// The assignment whose owner was told.
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

    /// A log has lost its records from `cut` on; it ended at `until`.
    pub(super) fn truncated(&mut self, records: &mut [Produced], partition: &PartitionId, cut: i64, until: i64) {
        for record in records {
            if record.partition == *partition && record.offset >= cut {
                record.excused.get_or_insert(Excuse::Truncated);
            }
        }
        self.windows.insert(partition.clone(), Window { cut, until, tenure: None });
    }

    /// A topic was deleted.
    pub(super) fn deleted(&mut self, records: &mut [Produced], partition: &PartitionId) {
        for record in records.iter_mut().filter(|record| record.partition == *partition) {
            record.excused = Some(Excuse::TopicGone);
        }
        self.windows.remove(partition);
    }

    /// Goes on with what the journal has noted since.
    pub(super) fn follow(&mut self, records: &mut [Produced], notices: Vec<Notice>) {
        for notice in notices {
            match notice {
                Notice::LogReport(report) => self.report(records, &report),
                Notice::Moved { partition, to } => self.moved(&partition, to),
            }
        }
    }

    /// A position was set: where it is not beyond the cut, the truncation is dealt with.
    fn moved(&mut self, partition: &PartitionId, to: i64) {
        if self.windows.get(partition).is_some_and(|window| to <= window.cut) {
            self.windows.remove(partition);
        }
    }

    /// A member was told where a log ends.
    fn report(&mut self, records: &mut [Produced], told: &LogReport) {
        let LogReport { partition, log_end, position, tenure } = told;
        let Some(window) = self.windows.get_mut(partition) else { return };
        // It was told before: what it did not do then is no excuse now.
        if window.tenure == Some(*tenure) {
            return;
        }
        if *position <= window.cut && window.tenure.is_none() {
            // Nothing was read beyond the cut; a batch that is under way may still move the position there.
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
