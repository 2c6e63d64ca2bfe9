//! Advisory locks for rows that do not exist.
//!
//! A row that a batch has read as absent cannot be locked, so another instance may insert it before the batch commits. If two
//! batches each inserted a row that the other has read as absent, both would commit as if each had come first. Therefore, a
//! batch that relies on an absence takes an exclusive lock, and a batch that inserts the row takes the same lock in shared
//! mode. Rows are hashed to a few locks, so that a batch of thousands of new rows does not fill the server's lock table.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// Shared, by batches that insert.
    Shared,
    /// Exclusive, by batches that rely on an absence.
    Alone,
}

/// The base of the locks' numbers: "ordr", then a number with its highest bit set, which no other lock of a store has.
const LOCKS: u64 = 0x6f72_6472_8000_0000;

/// The mask of a table's locks.
const OF_TABLE: u64 = 0x3f;

/// The number of the lock on the absence of a row, the same in every release.
fn number(table: &str, id: &str) -> i64 {
    let table = xxh3_64(table.as_bytes()) & 0x7fff_ffff & !OF_TABLE;
    (LOCKS | table | (xxh3_64(id.as_bytes()) & OF_TABLE)).cast_signed()
}

/// The locks that a transaction needs, and how it holds them.
#[derive(Debug, Default)]
pub(super) struct Absences(pub(super) BTreeMap<i64, Hold>);

impl Absences {
    /// Adds the locks of rows that are expected to be absent (version 0). The stronger hold of a lock counts.
    pub(super) fn add(&mut self, table: &str, expected: &[(String, u64)], hold: Hold) {
        for (id, _) in expected.iter().filter(|(_, version)| *version == 0) {
            let held = self.0.entry(number(table, id)).or_insert(hold);
            *held = hold.max(*held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_new_rows_need_few_locks_and_the_stronger_hold_counts() {
        let rows: Vec<(String, u64)> = (0..1_000).map(|id| (id.to_string(), 0)).collect();
        let mut absences = Absences::default();
        absences.add("things", &rows, Hold::Shared);
        assert_eq!(absences.0.len(), 64);
        absences.add("things", &rows[..1], Hold::Alone);
        absences.add("things", &rows[..1], Hold::Shared);
        absences.add("things", &[("there".to_owned(), 3)], Hold::Alone);
        assert_eq!(absences.0.values().filter(|hold| **hold == Hold::Alone).count(), 1);
    }

    #[test]
    fn a_lock_has_the_same_number_in_every_release() {
        assert_eq!(number("things", "thing-1"), 0x6f72_6472_89c8_1504);
        assert_ne!(number("things", "thing-1"), number("others", "thing-1"));
    }
}
