//! How far a partition is: what was taken, what has come, and what of the log will never come.
//!
//! A log's end lies beyond its last record where transactions have left marks, and behind it lie records of transactions that are
//! still open. Both look like records that do not come. librdkafka's statistics say to where it has fetched: what lies
//! below and has not come was a mark, or was aborted.

use tokio::time::Instant;

/// What is known of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// The offset after the last record that was taken.
    pub(super) taken: i64,
    /// The offset after the last record that has come.
    received: i64,
    /// Below this offset nothing will come that has not come.
    passed: i64,
    /// To where had been fetched when that was last told.
    fetched: Option<i64>,
    /// The end of what may be read: before the first open transaction, as last heard.
    stable_end: i64,
    /// Since when records lie ready.
    pub(super) ready_since: Option<Instant>,
    /// Since when nothing has come though there is more.
    pub(super) silent_since: Option<Instant>,
    /// Since when an open transaction keeps all further records back.
    pub(super) transaction_since: Option<Instant>,
}

impl Reach {
    /// Nothing is taken before `start`; a partition without one does not begin yet.
    pub(super) fn new(start: Option<i64>) -> Self {
        let at = start.unwrap_or(i64::MAX);
        Self {
            taken: at,
            received: at,
            passed: at,
            fetched: None,
            stable_end: 0,
            ready_since: None,
            silent_since: None,
            transaction_since: None,
        }
    }

    /// Everything begins anew at this offset.
    pub(super) fn set_back(&mut self, offset: i64) {
        *self = Self { stable_end: self.stable_end, ..Self::new(Some(offset)) };
    }

    /// What has come and was not taken comes again, from this offset on.
    pub(super) fn come_again(&mut self, offset: i64) {
        self.received = offset;
        self.passed = offset;
        self.fetched = None;
        self.ready_since = None;
    }

    /// Fetching stops for a while, and begins again with what has not come.
    pub(super) fn pauses(&mut self) {
        self.fetched = None;
    }

    /// Records have come; `next` is the offset after the last of them.
    pub(super) fn received(&mut self, next: i64) {
        self.received = next;
        self.silent_since = None;
        self.ready_since.get_or_insert_with(Instant::now);
    }

    /// Records were taken; `next` is the offset after the last of them.
    pub(super) fn took(&mut self, next: i64, some_left: bool) {
        self.taken = next;
        self.ready_since = some_left.then(Instant::now);
    }

    /// librdkafka tells to where it has fetched. Records below may still be on their way, so it counts when it is told
    /// again, seconds later.
    pub(super) fn fetched(&mut self, position: i64) {
        if let Some(earlier) = self.fetched.replace(position) {
            self.passed = self.passed.max(earlier.min(position));
        }
    }

    /// Whether an open transaction keeps all further records back.
    pub(super) fn waits_for_transaction(&mut self, waits: bool) {
        self.transaction_since = waits.then(|| self.transaction_since.unwrap_or_else(Instant::now));
    }

    /// So far the log may be read.
    pub(super) fn ends(&mut self, stable_end: i64) {
        self.stable_end = self.stable_end.max(stable_end);
    }

    /// Where the next record may lie; `waiting` is the offset of the first that waits to be taken.
    pub(super) fn next(&self, waiting: Option<i64>) -> i64 {
        waiting.unwrap_or(self.received.max(self.passed))
    }

    /// Whether records are still to come, as far as is known.
    pub(super) fn has_more(&self) -> bool {
        self.received.max(self.passed) < self.stable_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_and_did_not_come_will_not_come() {
        let mut reach = Reach::new(Some(0));
        reach.ends(12);
        reach.received(10);
        assert!(reach.has_more() && reach.next(None) == 10);
        reach.fetched(12);
        assert!(reach.has_more(), "they may be on their way");
        reach.fetched(12);
        assert!(!reach.has_more() && reach.next(None) == 12, "they were marks");
        assert_eq!(reach.next(Some(4)), 4, "something waits to be taken");
        reach.ends(13);
        assert!(reach.has_more());
    }

    #[test]
    fn a_pause_and_a_seek_begin_it_anew() {
        let mut reach = Reach::new(Some(0));
        reach.ends(12);
        reach.received(5);
        reach.fetched(12);
        // What lay in librdkafka's queue is dropped now.
        reach.pauses();
        reach.fetched(12);
        assert!(reach.has_more());
        reach.fetched(6);
        assert_eq!(reach.next(None), 6, "the lesser of two");
        reach.come_again(3);
        assert_eq!((reach.next(None), reach.taken), (3, 0));
        reach.set_back(8);
        assert_eq!((reach.next(None), reach.taken, reach.has_more()), (8, 8, true));
    }

    #[test]
    fn a_partition_that_does_not_begin_has_no_more() {
        let mut reach = Reach::new(None);
        reach.ends(12);
        assert!(!reach.has_more());
    }

    #[test]
    fn records_are_ready_until_all_are_taken() {
        let mut reach = Reach::new(Some(0));
        assert_eq!(reach.ready_since, None);
        reach.received(3);
        assert!(reach.ready_since.is_some());
        reach.took(2, true);
        assert!(reach.ready_since.is_some() && reach.taken == 2);
        reach.took(3, false);
        assert_eq!(reach.ready_since, None);
    }
}
