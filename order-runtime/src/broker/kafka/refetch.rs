//! Detects and repairs fetching that has stalled or reads at a wrong offset.
//!
//! After a batch with a wrong checksum, librdkafka continues to read at a wrong place: it may skip good batches, or take an
//! offset from the middle of a record, request it, and stop. It does not report the partition. If the partition was set back
//! meanwhile, it may stop silently.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer as _,
    error::{KafkaResult, RDKafkaErrorCode},
    topic_partition_list::TopicPartitionListElem,
};
use tokio::time::Instant;
use tracing::warn;

use super::{
    ffi,
    inbox::Inbox,
    poller::{Polled, SEEK, Seek, one},
};
use crate::{broker::ConsumerEvent, model::PartitionId};

/// The interval between checks of partitions.
const LOOK: Duration = Duration::from_secs(1);
/// How long a partition with more records may bring nothing. A fetch over a slow connection takes time, and setting the partition
/// back would discard it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same after the partition was set back; doubled each time that it did not help.
const PATIENCE_AFTERWARDS: Duration = Duration::from_secs(2);
/// The longest patience.
const LONGEST_PATIENCE: Duration = Duration::from_mins(10);

/// How long a partition has brought nothing.
pub(super) struct Flow {
    since: Instant,
    patience: Duration,
    /// Like `since`, but not reset when the partition is set back.
    silent: Instant,
}

impl Flow {
    /// The partition brings records just now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { since: now, patience: PATIENCE, silent: now }
    }

    /// The partition is set back just now.
    fn again(&self) -> Self {
        let patience = if self.patience == PATIENCE { PATIENCE_AFTERWARDS } else { self.patience * 2 };
        Self { since: Instant::now(), patience: patience.min(LONGEST_PATIENCE), silent: self.silent }
    }

    /// No records are expected just now.
    fn waiting(&self) -> Self {
        Self { patience: self.patience, ..Self::new() }
    }

    fn has_stalled(&self) -> bool {
        self.since.elapsed() > self.patience
    }
}

impl Polled {
    /// Fetches all partitions again, after a batch with a wrong checksum.
    pub(super) fn damaged(&mut self) {
        if self.membership.shared.log_throttle.due("checksum") {
            warn!("a batch of records has arrived damaged; fetching again");
        }
        self.refresh();
        let all: Vec<_> = self.known.feeds.iter().map(|feed| Arc::clone(&feed.inbox)).collect();
        self.fetch_again(&all);
    }

    /// Sets back partitions that have more records and bring nothing.
    pub(super) fn look_for_stalls(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        self.refresh();
        let mut stalled = Vec::new();
        for feed in &mut self.known.feeds {
            let id = &feed.inbox.id;
            let end = feed.inbox.log_end(ffi::known_log_end(self.consumer.client(), &id.topic, id.partition));
            let expects = feed.inbox.expects_records() && self.membership.shared.connected();
            if expects {
                // If librdkafka has restarted the partition since, its records wait in a queue of their own.
                self.fetched.lead_here(&id.topic, id.partition);
            } else {
                feed.flow = feed.flow.waiting();
            }
            if expects && feed.flow.has_stalled() {
                if self.membership.shared.log_throttle.due("stalled") {
                    warn!(partition = %id, next = feed.next, log_end = end, "no records arrive although the log has more; fetching again");
                }
                stalled.push(Arc::clone(&feed.inbox));
            }
            feed.inbox.set_silent(expects.then_some(feed.flow.silent));
        }
        self.fetch_again(&stalled);
    }

    /// Compares all partitions with their logs, because librdkafka does not report which one is out of range.
    pub(super) fn out_of_range(&mut self) {
        self.refresh();
        let mut within = Vec::new();
        for feed in &self.known.feeds {
            let id = &feed.inbox.id;
            // A partition that does not begin yet requests nothing.
            let Some(next) = feed.next else { continue };
            let Ok((log_start, log_end)) = self.membership.metadata.log(&id.topic, id.partition) else {
                within.push(Arc::clone(&feed.inbox));
                continue;
            };
            if next < log_start || next > log_end {
                warn!(partition = %id, next, log_start, log_end, "the requested offset is not in the partition's log");
                let out = ConsumerEvent::OutOfRange { partition: id.clone(), log_start, log_end };
                self.consumer.context().tell(out);
            } else {
                within.push(Arc::clone(&feed.inbox));
            }
        }
        // librdkafka has requested a wrong offset by itself, or the range of the log is unknown. It no longer fetches that
        // partition.
        self.fetch_again(&within);
    }

    /// Makes librdkafka fetch the partition from `offset`.
    pub(super) fn set_back(&self, id: &PartitionId, offset: i64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&id.topic, id.partition, Offset::Offset(offset))?;
        let sought = self
            .consumer
            .seek_partitions(list.clone(), SEEK)
            .and_then(|list| list.elements().iter().try_for_each(TopicPartitionListElem::error));
        match sought {
            // After an offset that the log does not have, librdkafka has stopped the partition, and accepts no seek any more.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => {
                self.consumer.incremental_unassign(&one(id))?;
                self.consumer.incremental_assign(&list)
            }
            sought => sought,
        }
    }

    /// Handles a record that arrived among the events instead of in the queue of records. Usually its partition was revoked,
    /// since assigned partitions were set apart before. If it is still assigned, further records may have arrived there, so the
    /// partition is fetched again.
    pub(super) fn astray(&mut self, topic: &str, partition: i32) {
        self.refresh();
        let of_it = |inbox: &&Arc<Inbox>| inbox.id.partition == partition && &*inbox.id.topic == topic;
        let inbox = self.known.feeds.iter().map(|feed| &feed.inbox).find(of_it).cloned();
        if let Some(inbox) = inbox {
            self.fetch_again(&[inbox]);
        }
    }

    /// Sets partitions back to the first record that the engine has not taken yet.
    fn fetch_again(&mut self, inboxes: &[Arc<Inbox>]) {
        self.flush();
        for inbox in inboxes {
            let feed = self.known.feeds.iter_mut().find(|feed| Arc::ptr_eq(&feed.inbox, inbox));
            let Some(feed) = feed else { continue };
            let Some(next) = feed.next else { continue };
            feed.flow = feed.flow.again();
            // A seek that waits for its retry sets the partition anyway, and to another offset.
            if self.seeks.iter().any(|(seek, _)| Arc::ptr_eq(&seek.inbox, inbox)) {
                continue;
            }
            let offset = inbox.begin_refetch(next);
            self.seek(Seek { inbox: Arc::clone(inbox), offset, by_engine: false });
        }
    }
}
