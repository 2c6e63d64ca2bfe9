//! The progress of a partition: which records were taken, which have arrived, and which offsets will never have a record.
//!
//! A log's end lies beyond its last record if transactions have left markers, and the log also contains records of open
//! transactions. Both look like records that do not arrive. librdkafka's statistics report its fetch position: an offset below it
//! whose record has not arrived was a marker, or its transaction was aborted.

use tokio::time::Instant;

/// The known progress of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct InboxProgress {
    /// The offset after the last record that was taken.
    pub(super) taken: i64,
    /// The offset after the last record that has arrived.
    received: i64,
    /// No further records will arrive below this offset.
    passed: i64,
    /// The fetch position at the last report.
    fetched: Option<i64>,
    /// The last stable offset as last reported: the end of the log before the first open transaction.
    stable_end: i64,
    /// Since when records have been ready and none was taken.
    pub(super) ready_since: Option<Instant>,
    /// Since when nothing has arrived although there is more.
    pub(super) silent_since: Option<Instant>,
    /// Since when an open transaction has held back all further records.
    pub(super) transaction_since: Option<Instant>,
}

impl InboxProgress {
    /// The progress of a partition that begins at `start`. Without a start, it does not begin yet.
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

    /// Starts again at this offset.
    pub(super) fn restart(&mut self, offset: i64) {
        *self = Self { stable_end: self.stable_end, ..Self::new(Some(offset)) };
    }

    /// Records that have arrived and were not taken will arrive again, from this offset on.
    pub(super) fn refetch_from(&mut self, offset: i64) {
        self.received = offset;
        self.passed = offset;
        self.fetched = None;
        self.ready_since = None;
    }

    /// Fetching stops for a while, and continues with the first record that has not arrived.
    pub(super) fn interrupt(&mut self) {
        self.fetched = None;
    }

    /// Records have arrived; `next` is the offset after the last of them.
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

    /// Notes librdkafka's fetch position. Records below it may still be in flight, so it counts at the next report, seconds
    /// later.
    pub(super) fn fetched(&mut self, position: i64) {
        if let Some(earlier) = self.fetched.replace(position) {
            self.passed = self.passed.max(earlier.min(position));
        }
    }

    /// Notes whether an open transaction holds back all further records.
    pub(super) fn waits_for_transaction(&mut self, waits: bool) {
        self.transaction_since = waits.then(|| self.transaction_since.unwrap_or_else(Instant::now));
    }

    /// Notes the last stable offset.
    pub(super) fn raise_end(&mut self, stable_end: i64) {
        self.stable_end = self.stable_end.max(stable_end);
    }

    /// The lowest possible offset of the next record; `waiting` is the offset of the first record that waits to be taken.
    pub(super) fn next(&self, waiting: Option<i64>) -> i64 {
        waiting.unwrap_or(self.received.max(self.passed))
    }

    /// Whether further records are expected, as far as known.
    pub(super) fn has_more(&self) -> bool {
        self.received.max(self.passed) < self.stable_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetched_offset_without_a_record_is_not_waited_for() {
        let mut progress = InboxProgress::new(Some(0));
        progress.raise_end(12);
        progress.received(10);
        assert!(progress.has_more() && progress.next(None) == 10);
        progress.fetched(12);
        assert!(progress.has_more(), "they may be in flight");
        progress.fetched(12);
        assert!(!progress.has_more() && progress.next(None) == 12, "they were markers");
        assert_eq!(progress.next(Some(4)), 4, "something waits to be taken");
        progress.raise_end(13);
        assert!(progress.has_more());
    }

    #[test]
    fn a_pause_and_a_seek_reset_the_progress() {
        let mut progress = InboxProgress::new(Some(0));
        progress.raise_end(12);
        progress.received(5);
        progress.fetched(12);
        // The records in librdkafka's queue are dropped now.
        progress.interrupt();
        progress.fetched(12);
        assert!(progress.has_more());
        progress.fetched(6);
        assert_eq!(progress.next(None), 6, "the lesser of two");
        progress.refetch_from(3);
        assert_eq!((progress.next(None), progress.taken), (3, 0));
        progress.restart(8);
        assert_eq!((progress.next(None), progress.taken, progress.has_more()), (8, 8, true));
    }

    #[test]
    fn a_partition_that_does_not_begin_has_no_more() {
        let mut progress = InboxProgress::new(None);
        progress.raise_end(12);
        assert!(!progress.has_more());
    }

    #[test]
    fn records_are_ready_until_all_are_taken() {
        let mut progress = InboxProgress::new(Some(0));
        assert_eq!(progress.ready_since, None);
        progress.received(3);
        assert!(progress.ready_since.is_some());
        progress.took(2, true);
        assert!(progress.ready_since.is_some() && progress.taken == 2);
        progress.took(3, false);
        assert_eq!(progress.ready_since, None);
    }
}
