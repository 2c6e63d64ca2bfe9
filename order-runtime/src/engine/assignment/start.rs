//! Decides at which offset an assigned partition begins. One pure function weighs the store's position, the
//! group's committed offset, the log and the reset policy.

use uuid::Uuid;

use crate::{
    broker::PartitionOffer,
    config::{OffsetReset, OnTruncation},
};

/// The inputs of the decision besides the offer itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// The position in the store.
    pub(crate) stored: Option<i64>,
    /// Whether another partition of this topic has a position.
    pub(crate) topic_known: bool,
    /// The store's id if it is durable; `None` otherwise. Offsets that were committed with another store matter only to a durable
    /// store.
    pub(crate) store: Option<Uuid>,
    /// `KAFKA_AUTO_OFFSET_RESET`.
    pub(crate) reset: OffsetReset,
    /// `APP_ON_TRUNCATION`.
    pub(crate) on_truncation: OnTruncation,
}

/// Where the partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// At this offset.
    Begin {
        /// The offset.
        at: i64,
        /// How many records the log has dropped before they were handled.
        skipped: u64,
        /// The offset that was committed from this store before it was replaced by an older copy.
        restored_below: Option<i64>,
    },
    /// Nowhere until an operator acts. The text says why, and what to do.
    Stop(String),
}

impl Decision {
    fn begin(at: i64) -> Self {
        Self::Begin { at, skipped: 0, restored_below: None }
    }
}

/// Decides where a partition begins.
pub(crate) fn decide(offer: &PartitionOffer, circumstances: &Circumstances) -> Decision {
    let Circumstances { stored, topic_known, store, reset, on_truncation } = *circumstances;
    let committed_by = offer.committed_metadata.parse::<Uuid>().ok();
    if let (Some(own), Some(foreign)) = (store, committed_by)
        && own != foreign
    {
        return Decision::Stop(format!(
            "the group's offset was committed with another store ({foreign}; this one is {own}); \
             set STORE_URL to that store, or KAFKA_GROUP_ID to a new group, or delete the group's offsets"
        ));
    }
    let Some(position) = stored else { return first(offer, topic_known, reset) };
    let mut decision = within_log(position, offer.log_start, offer.log_end, on_truncation);
    // Kafka's offset only follows the position. An offset beyond the position that has this store's id beside it was
    // committed from a newer state of the store. An offset without the id was committed by another program and is ignored.
    let is_own = store.is_some() && committed_by == store;
    if let (Decision::Begin { restored_below, .. }, true) = (&mut decision, is_own) {
        *restored_below = offer.committed.filter(|committed| *committed > position);
    }
    decision
}

/// Decides where to begin for a position that may be outside of the log.
pub(crate) fn within_log(position: i64, log_start: i64, log_end: i64, on_truncation: OnTruncation) -> Decision {
    if position < log_start {
        // Kafka has deleted the records in between, so waiting would not help.
        return Decision::Begin { at: log_start, skipped: log_start.abs_diff(position), restored_below: None };
    }
    if position > log_end {
        return match on_truncation {
            OnTruncation::Continue => Decision::begin(log_end),
            OnTruncation::Stop => Decision::Stop(format!(
                "the log ends at {log_end}, before the position {position}: records were lost or the topic was recreated; \
                 set APP_ON_TRUNCATION=continue to resume at the log's end"
            )),
        };
    }
    Decision::begin(position)
}

/// Decides where a partition begins that has no position in the store.
fn first(offer: &PartitionOffer, topic_known: bool, reset: OffsetReset) -> Decision {
    // A group that ran without this store before continues at its committed offset.
    if let Some(committed) = offer.committed
        && (offer.log_start..=offer.log_end).contains(&committed)
    {
        return Decision::begin(committed);
    }
    // A partition that was added to a known topic has only records that were never handled.
    if topic_known {
        return Decision::begin(offer.log_start);
    }
    match reset {
        OffsetReset::Earliest => Decision::begin(offer.log_start),
        OffsetReset::Latest => Decision::begin(offer.log_end),
        OffsetReset::Error => Decision::Stop(
            "the partition has no position and KAFKA_AUTO_OFFSET_RESET is `error`; set it to `earliest` or `latest`"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::engine::assignment::start::*;
    use crate::model::PartitionId;

    fn offer(log: (i64, i64), committed: Option<i64>, metadata: &str) -> PartitionOffer {
        PartitionOffer {
            id: PartitionId {
                cluster: Arc::from("cluster"),
                topic_id: Uuid::nil(),
                topic: Arc::from("things"),
                partition: 0,
            },
            log_start: log.0,
            log_end: log.1,
            committed,
            committed_metadata: metadata.to_owned(),
            ready: Arc::default(),
        }
    }

    const OWN: Uuid = Uuid::from_u128(1);

    fn with(stored: Option<i64>) -> Circumstances {
        Circumstances {
            stored,
            topic_known: false,
            store: Some(OWN),
            reset: OffsetReset::Earliest,
            on_truncation: OnTruncation::Stop,
        }
    }

    fn begins(decision: &Decision) -> (i64, u64) {
        match decision {
            Decision::Begin { at, skipped, .. } => (*at, *skipped),
            Decision::Stop(reason) => panic!("stopped: {reason}"),
        }
    }

    fn stops(decision: &Decision) -> &str {
        match decision {
            Decision::Begin { at, .. } => panic!("began at {at}"),
            Decision::Stop(reason) => reason,
        }
    }

    #[test]
    fn the_position_wins() {
        let own = OWN.to_string();
        assert_eq!(begins(&decide(&offer((0, 100), Some(40), &own), &with(Some(50)))), (50, 0));
        assert_eq!(begins(&decide(&offer((0, 100), None, ""), &with(Some(50)))), (50, 0));
    }

    #[test]
    fn an_offset_that_was_committed_without_the_stores_id_is_ignored() {
        for metadata in ["", "a debug tool"] {
            for committed in [0, 40, 60, 100] {
                let decision = decide(&offer((0, 100), Some(committed), metadata), &with(Some(50)));
                assert_eq!(decision, Decision::begin(50), "{committed}, {metadata:?}");
            }
        }
    }

    #[test]
    fn a_store_restored_from_an_older_copy_continues_and_is_reported() {
        let own = OWN.to_string();
        let decision = decide(&offer((0, 100), Some(60), &own), &with(Some(50)));
        assert_eq!(decision, Decision::Begin { at: 50, skipped: 0, restored_below: Some(60) });
        let dropped = decide(&offer((70, 100), Some(90), &own), &with(Some(50)));
        assert_eq!(dropped, Decision::Begin { at: 70, skipped: 20, restored_below: Some(90) });
        let up_to_date = decide(&offer((0, 100), Some(50), &own), &with(Some(50)));
        assert_eq!(up_to_date, Decision::begin(50));
    }

    #[test]
    fn a_foreign_store_stops() {
        let foreign = Uuid::from_u128(2).to_string();
        assert!(stops(&decide(&offer((0, 100), Some(40), &foreign), &with(Some(50)))).contains("another store"));
        assert!(stops(&decide(&offer((0, 100), Some(40), &foreign), &with(None))).contains("another store"));
        let forgetful = Circumstances { store: None, ..with(None) };
        assert_eq!(begins(&decide(&offer((0, 100), Some(40), &foreign), &forgetful)), (40, 0));
    }

    #[test]
    fn records_dropped_by_the_log_are_counted() {
        assert_eq!(begins(&decide(&offer((70, 100), None, ""), &with(Some(50)))), (70, 20));
    }

    #[test]
    fn a_truncated_log_stops_until_it_is_allowed() {
        assert!(stops(&decide(&offer((0, 30), None, ""), &with(Some(50)))).contains("APP_ON_TRUNCATION"));
        let allowed = Circumstances { on_truncation: OnTruncation::Continue, ..with(Some(50)) };
        assert_eq!(begins(&decide(&offer((0, 30), None, ""), &allowed)), (30, 0));
    }

    #[test]
    fn a_first_start_follows_the_group_then_the_policy() {
        assert_eq!(begins(&decide(&offer((10, 100), Some(40), ""), &with(None))), (40, 0));
        assert_eq!(begins(&decide(&offer((10, 100), None, ""), &with(None))), (10, 0));
        assert_eq!(
            begins(&decide(&offer((10, 100), Some(5), ""), &with(None))),
            (10, 0),
            "the log no longer has the committed offset"
        );
        let latest = Circumstances { reset: OffsetReset::Latest, ..with(None) };
        assert_eq!(begins(&decide(&offer((10, 100), None, ""), &latest)), (100, 0));
        let error = Circumstances { reset: OffsetReset::Error, ..with(None) };
        assert!(stops(&decide(&offer((10, 100), None, ""), &error)).contains("KAFKA_AUTO_OFFSET_RESET"));
    }

    #[test]
    fn a_new_partition_of_a_known_topic_starts_with_its_first_record() {
        let known = Circumstances { topic_known: true, reset: OffsetReset::Latest, ..with(None) };
        assert_eq!(begins(&decide(&offer((0, 100), None, ""), &known)), (0, 0));
    }
}
