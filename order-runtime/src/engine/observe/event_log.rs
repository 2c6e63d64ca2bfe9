//! Log lines about single events: at most one line a second for each partition, with the number of events in between.

use std::{borrow::Cow, time::Duration};

use tracing::{debug, warn};

use crate::model::{LogThrottle, PartitionId, cut};

/// The minimum time between two lines of a partition.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// The maximum length of one field, in bytes.
const FIELD_LIMIT: usize = 256;

/// An event that is worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notable {
    /// Its outcome, as the text of the line.
    pub(crate) outcome: &'static str,
    pub(crate) offset: i64,
    pub(crate) event: String,
    pub(crate) event_id: String,
    pub(crate) reason: &'static str,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

/// The notable events of a batch: the first one, and their number.
#[derive(Debug, Default)]
pub(crate) struct Notables {
    first: Option<Notable>,
    count: u64,
}

impl Notables {
    pub(crate) fn add(&mut self, notable: impl FnOnce() -> Notable) {
        self.count += 1;
        self.first.get_or_insert_with(notable);
    }
}

/// Logs the events of a shadow batch, whose effects are only reported.
pub(crate) fn in_shadow(partition: &PartitionId, notables: &Notables) {
    if let Some(first) = &notables.first {
        let more = notables.count - 1;
        debug!(%partition, offset = first.offset, code = &*first.code, more, "in shadow only: {}", first.outcome);
    }
}

/// Logs the notable events of a committed batch, at most one line in [`QUIET`] for each `throttle`.
pub(crate) fn of_batch(throttle: &LogThrottle, partition: &PartitionId, notables: &Notables) {
    let Some(first) = &notables.first else { return };
    let Some(more) = throttle.pass_many(notables.count) else { return };
    warn!(
        %partition,
        offset = first.offset,
        event = cut(&first.event, FIELD_LIMIT),
        event_id = cut(&first.event_id, FIELD_LIMIT),
        reason = first.reason,
        code = &*first.code,
        error = cut(&first.message, FIELD_LIMIT),
        more,
        "{}",
        first.outcome
    );
}

#[cfg(test)]
mod tests {
    use crate::engine::observe::event_log::*;

    #[test]
    fn the_first_of_a_batch_is_kept() {
        let mut notables = Notables::default();
        for offset in [4, 5] {
            notables.add(|| Notable {
                outcome: "dead-lettered",
                offset,
                event: String::new(),
                event_id: String::new(),
                reason: "rejected",
                code: "".into(),
                message: String::new(),
            });
        }
        assert_eq!((notables.first.map(|first| first.offset), notables.count), (Some(4), 2));
    }
}
