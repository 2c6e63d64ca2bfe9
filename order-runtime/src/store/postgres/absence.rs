//! Locks on rows that do not exist.
//!
//! A row that a batch has read as absent cannot be locked, and another instance may insert it before the batch commits. Of two
//! batches that each insert what the other has read as absent, both would then commit, as if each had come first. So a batch
//! that relies on an absence holds a lock of its own alone, and a batch that inserts holds the same lock together with other
//! batches that insert. Rows share a few locks by their hash: a batch of thousands of new rows must not fill the server's table
//! of locks.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// Together with others: by those who insert.
    Shared,
    /// By one transaction only: by those who rely on an absence.
    Alone,
}

/// The numbers of these locks: "ordr", then a number with its highest bit set, which no other lock of a store has.
const LOCKS: u64 = 0x6f72_6472_8000_0000;

/// Locks of a table, as a mask.
const OF_TABLE: u64 = 0x3f;

/// The lock on the absence of a row, the same in every release.
fn number(table: &str, id: &str) -> i64 {
    let table = xxh3_64(table.as_bytes()) & 0x7fff_ffff & !OF_TABLE;
    (LOCKS | table | (xxh3_64(id.as_bytes()) & OF_TABLE)).cast_signed()
}

/// The locks that a transaction needs.
#[derive(Debug, Default)]
pub(super) struct Absences(pub(super) BTreeMap<i64, Hold>);

impl Absences {
    /// Adds what is expected of rows: those with version 0 do not exist.
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
