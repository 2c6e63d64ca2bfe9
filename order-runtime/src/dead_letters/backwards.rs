//! Reading the topic from its end in steps, latest records first, with a cursor to continue.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Number of records of the first step. Each step doubles, so that little reading is wasted when time runs out within a step.
const FIRST: u64 = 256;
/// Maximum number of records of a step.
const LARGEST: u64 = 16 * 1024;

/// The direction of a pass over the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the first record to the last, in one step.
    Forwards,
    /// In steps, from the end or from a cursor, back to the first record. Within a step, letters are in the topic's order.
    Back(Option<Cursor>),
}

/// The sizes of the steps of a pass, in records.
#[derive(Debug)]
pub(super) struct Steps(u64);

impl Steps {
    pub(super) fn of(direction: &Direction) -> Self {
        Self(if *direction == Direction::Forwards { u64::MAX } else { FIRST })
    }

    pub(super) fn next(&mut self) -> u64 {
        let records = self.0;
        if records != u64::MAX {
            self.0 = (records * 2).min(LARGEST);
        }
        records
    }
}

/// A reader's position on the way back: the offset in each partition before which nothing was read.
///
/// Its text form is the offsets in the order of the partitions, separated by dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor(Vec<i64>);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (partition, offset) in self.0.iter().enumerate() {
            write!(f, "{}{offset}", if partition == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|expected| D::Error::custom(format!("`before`: {expected}")))
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let offsets = text.split('.').map(|offset| offset.parse().ok().filter(|offset| *offset >= 0));
        offsets.collect::<Option<_>>().map(Self).ok_or("expected the value of `next` of an earlier answer")
    }
}

/// The unread part of each partition: its number, the first offset, and the offset after the last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Vec<(i32, i64, i64)>);

impl Unread {
    /// The part of a log that a pass is to read.
    pub(super) fn of(mut log: Vec<(i32, i64, i64)>, direction: &Direction) -> Self {
        log.sort_unstable();
        if let Direction::Back(Some(Cursor(offsets))) = direction {
            for (number, (_, start, end)) in log.iter_mut().enumerate() {
                // A partition that was added since holds only later records.
                let before = offsets.get(number).copied().unwrap_or_default();
                *end = before.clamp(*start, (*end).max(*start));
            }
        }
        Self(log)
    }

    pub(super) fn records(&self) -> u64 {
        self.0.iter().map(|(_, start, end)| u64::try_from(end - start).unwrap_or_default()).sum()
    }

    pub(super) fn place(&self) -> Cursor {
        Cursor(self.0.iter().map(|(_, _, end)| *end).collect())
    }

    /// Takes the last records of all partitions, about `records` in total.
    pub(super) fn take_latest(&mut self, records: u64) -> Vec<(i32, i64, i64)> {
        let partitions = self.0.iter().filter(|(_, start, end)| start < end).count() as u64;
        let each = i64::try_from(records.div_ceil(partitions.max(1))).unwrap_or(i64::MAX);
        let mut taken = Vec::new();
        for (partition, start, end) in &mut self.0 {
            let from = end.saturating_sub(each).max(*start);
            if from < *end {
                taken.push((*partition, from, *end));
                *end = from;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_from_its_end_once() {
        let mut unread = Unread::of(vec![(1, 0, 10), (0, 100, 1_000), (2, 5, 5)], &Direction::Back(None));
        assert_eq!(unread.records(), 910);
        assert_eq!(unread.take_latest(256), [(0, 872, 1_000), (1, 0, 10)]);
        assert_eq!((unread.records(), unread.place().to_string()), (772, "872.0.5".to_owned()));
        assert_eq!(unread.take_latest(512), [(0, 360, 872)]);
        assert_eq!(unread.take_latest(512), [(0, 100, 360)]);
        assert_eq!((unread.take_latest(512), unread.records()), (vec![], 0));
    }

    #[test]
    fn a_pass_continues_at_a_cursor() {
        let place: Cursor = "872.0.5".parse().expect("a place");
        let back = Direction::Back(Some(place));
        let log = vec![(0, 100, 1_100), (1, 0, 20), (2, 9, 12), (3, 0, 7)];
        let unread = Unread::of(log, &back);
        assert_eq!(unread.place().to_string(), "872.0.9.0", "deleted records and later ones are left out");
        assert_eq!(unread.records(), 772);
        for wrong in ["", ".", "1..2", "-1", "1.x", "99999999999999999999"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn forwards_everything_is_one_step() {
        let mut unread = Unread::of(vec![(0, 3, 1_000_000), (1, 0, i64::MAX)], &Direction::Forwards);
        assert_eq!(unread.take_latest(Steps::of(&Direction::Forwards).next()), [(0, 3, 1_000_000), (1, 0, i64::MAX)]);
        let mut steps = Steps::of(&Direction::Back(None));
        assert_eq!([steps.next(), steps.next(), steps.next()], [256, 512, 1_024]);
    }
}
