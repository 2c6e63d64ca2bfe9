//! The outbox in memory. Records are grouped by commit, because a batch of bad events writes thousands of records that are
//! published together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    model::PartitionId,
    store::{OutboxRecord, OutboxRow},
};

#[derive(Default)]
pub(super) struct Outbox {
    /// By the number of a commit's first row.
    commits: BTreeMap<i64, Commit>,
    last_row: i64,
    /// For each partition and each of its commits, the lowest source offset and the number of the first row.
    held: BTreeMap<PartitionId, BTreeSet<(i64, i64)>>,
}

/// The unpublished records of one commit.
struct Commit {
    partition: PartitionId,
    /// Each with its row number, in the order of the numbers.
    records: Vec<(i64, OutboxRecord)>,
    /// The lowest source offset.
    lowest: i64,
}

impl Commit {
    fn lowest(&self) -> Option<i64> {
        self.records.iter().map(|(_, record)| record.source_offset).min()
    }
}

impl Outbox {
    pub(super) fn add(&mut self, partition: &PartitionId, records: &[OutboxRecord]) {
        let first = self.last_row + 1;
        let records: Vec<_> = (first..).zip(records.iter().cloned()).collect();
        let mut commit = Commit { partition: partition.clone(), records, lowest: 0 };
        let (Some(lowest), Some((last, _))) = (commit.lowest(), commit.records.last()) else { return };
        commit.lowest = lowest;
        self.last_row = *last;
        self.held.entry(partition.clone()).or_default().insert((lowest, first));
        self.commits.insert(first, commit);
    }

    /// Up to `limit` rows after the row `row`.
    pub(super) fn after(&self, row: i64, limit: usize) -> Vec<OutboxRow> {
        let first = self.commits.range(..=row).next_back().map_or(row, |(first, _)| *first);
        let records = self.commits.range(first..).flat_map(|(_, commit)| {
            let behind = commit.records.partition_point(|(id, _)| *id <= row);
            &commit.records[behind..]
        });
        records.take(limit).map(|(id, record)| OutboxRow { id: *id, record: Arc::clone(&record.record) }).collect()
    }

    /// Removes rows that the broker has acknowledged.
    pub(super) fn published(&mut self, mut rows: Vec<i64>) {
        rows.sort_unstable();
        let mut rest = &rows[..];
        while let Some(row) = rest.first() {
            let known = self.commits.range(..=row).next_back().map(|(first, _)| *first);
            let next = self.commits.range(row + 1..).next().map_or(i64::MAX, |(first, _)| *first);
            let (of_commit, behind) = rest.split_at(rest.partition_point(|row| *row < next));
            rest = behind;
            if let Some(first) = known {
                self.forget(first, of_commit);
            }
        }
    }

    /// Removes rows of one commit, given in ascending order. The commit is removed with its last row.
    fn forget(&mut self, first: i64, rows: &[i64]) {
        let Some(commit) = self.commits.get_mut(&first) else { return };
        let Some(held) = self.held.get_mut(&commit.partition) else { return };
        let mut gone = rows.iter().peekable();
        commit.records.retain(|(id, _)| {
            while gone.next_if(|gone| *gone < id).is_some() {}
            gone.next_if_eq(&id).is_none()
        });
        held.remove(&(commit.lowest, first));
        if let Some(lowest) = commit.lowest() {
            commit.lowest = lowest;
            held.insert((lowest, first));
            // Records that no topic accepts may stay for long. They must not keep the memory of the published ones.
            commit.records.shrink_to(2 * commit.records.len());
        } else {
            self.commits.remove(&first);
        }
    }

    /// The lowest offset of an event of this partition with an unpublished record.
    pub(super) fn lowest(&self, partition: &PartitionId) -> Option<i64> {
        self.held.get(partition)?.first().map(|(lowest, _)| *lowest)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::{HeaderBlock, OutgoingRecord};

    fn partition(number: i32) -> PartitionId {
        PartitionId { cluster: "c".into(), topic_id: Uuid::nil(), topic: "things".into(), partition: number }
    }

    fn records(offsets: &[i64]) -> Vec<OutboxRecord> {
        let record = |offset: &i64| OutgoingRecord {
            topic: "out".into(),
            partition: None,
            key: None,
            payload: None,
            headers: HeaderBlock::default(),
            timestamp: Some(*offset),
        };
        offsets.iter().map(|offset| OutboxRecord { source_offset: *offset, record: record(offset).into() }).collect()
    }

    fn rows(outbox: &Outbox, after: i64, limit: usize) -> Vec<(i64, Option<i64>)> {
        outbox.after(after, limit).into_iter().map(|row| (row.id, row.record.timestamp)).collect()
    }

    #[test]
    fn rows_keep_their_order_and_an_unpublished_row_does_not_block_others() {
        let (first, second) = (partition(0), partition(1));
        let mut outbox = Outbox::default();
        outbox.add(&first, &records(&[7, 3, 9]));
        outbox.add(&second, &records(&[1]));
        outbox.add(&first, &[]);
        outbox.add(&first, &records(&[4, 10]));
        let all = [(1, 7), (2, 3), (3, 9), (4, 1), (5, 4), (6, 10)].map(|(row, offset)| (row, Some(offset)));
        assert_eq!(rows(&outbox, 0, 9), all);
        for after in 0..7 {
            let behind = usize::try_from(after).unwrap().min(all.len());
            assert_eq!(rows(&outbox, after, 2), all[behind..(behind + 2).min(all.len())], "after {after}");
        }
        assert_eq!((outbox.lowest(&first), outbox.lowest(&second)), (Some(3), Some(1)));

        outbox.published(vec![5, 1, 2, 4]);
        assert_eq!(rows(&outbox, 0, 9), [(3, Some(9)), (6, Some(10))]);
        assert_eq!((outbox.lowest(&first), outbox.lowest(&second)), (Some(9), None));
        outbox.published(vec![6, 6, 0, 99]);
        assert_eq!((rows(&outbox, 3, 9), outbox.lowest(&first)), (vec![], Some(9)));
        outbox.published(vec![3]);
        assert_eq!((outbox.commits.len(), outbox.lowest(&first)), (0, None));
        outbox.add(&first, &records(&[11]));
        assert_eq!(rows(&outbox, 0, 9), [(7, Some(11))], "no number is used twice");
    }
}
