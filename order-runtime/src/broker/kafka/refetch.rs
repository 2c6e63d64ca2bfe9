//! Fetching that has gone astray, and is set right.
//!
//! After a batch whose checksum is wrong, librdkafka goes on reading at a wrong place: it may pass over good batches, or take
//! an offset from the middle of a record, ask for it, and stop. It does not say in which partition, and where it has been set
//! back meanwhile, it may stop without a word.

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

/// How often partitions are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a partition may bring nothing that has more. A fetch over a slow line takes its time, and setting the partition
/// back would lose it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same after it was set back; twice as long after each time that it did not help.
const PATIENCE_AFTERWARDS: Duration = Duration::from_secs(2);
/// The longest patience.
const LONGEST_PATIENCE: Duration = Duration::from_mins(10);

/// How long a partition has brought nothing.
pub(super) struct Flow {
    since: Instant,
    patience: Duration,
    /// The same as `since`, but that setting it back does not count.
    silent: Instant,
}

impl Flow {
    /// It brings something just now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { since: now, patience: PATIENCE, silent: now }
    }

    /// It is set back just now.
    fn again(&self) -> Self {
        let patience = if self.patience == PATIENCE { PATIENCE_AFTERWARDS } else { self.patience * 2 };
        Self { since: Instant::now(), patience: patience.min(LONGEST_PATIENCE), silent: self.silent }
    }

    /// Nothing is expected of it just now.
    fn waiting(&self) -> Self {
        Self { patience: self.patience, ..Self::new() }
    }

    fn has_stalled(&self) -> bool {
        self.since.elapsed() > self.patience
    }
}

impl Polled {
    /// A checksum is wrong.
    pub(super) fn damaged(&mut self) {
        if self.membership.shared.voice.due("checksum") {
            warn!("a batch of records has arrived damaged; fetching again");
        }
        self.refresh();
        let all: Vec<_> = self.known.lanes.iter().map(|lane| Arc::clone(&lane.inbox)).collect();
        self.fetch_again(&all);
    }

    /// Sets partitions back that have more and bring nothing.
    pub(super) fn look_for_stalls(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        self.refresh();
        let mut stalled = Vec::new();
        for lane in &mut self.known.lanes {
            let id = &lane.inbox.id;
            let end = lane.inbox.log_end(ffi::known_log_end(self.consumer.client(), &id.topic, id.partition));
            let expects = lane.inbox.expects_records() && self.membership.shared.connected();
            if expects {
                // Where librdkafka has stopped and started it since, its records wait apart.
                self.fetched.lead_here(&id.topic, id.partition);
            } else {
                lane.flow = lane.flow.waiting();
            }
            if expects && lane.flow.has_stalled() {
                if self.membership.shared.voice.due("stalled") {
                    warn!(partition = %id, next = lane.next, log_end = end, "nothing arrives though there is more; fetching again");
                }
                stalled.push(Arc::clone(&lane.inbox));
            }
            lane.inbox.set_silent(expects.then_some(lane.flow.silent));
        }
        self.fetch_again(&stalled);
    }

    /// librdkafka does not say which partition is out of range, so all are compared with their logs.
    pub(super) fn out_of_range(&mut self) {
        self.refresh();
        let mut within = Vec::new();
        for lane in &self.known.lanes {
            let id = &lane.inbox.id;
            // A partition that does not begin asks for nothing.
            let Some(next) = lane.next else { continue };
            let Ok((log_start, log_end)) = self.membership.metadata.log(&id.topic, id.partition) else {
                within.push(Arc::clone(&lane.inbox));
                continue;
            };
            if next < log_start || next > log_end {
                warn!(partition = %id, next, log_start, log_end, "the wanted offset is not in the partition's log");
                let out = ConsumerEvent::OutOfRange { partition: id.clone(), log_start, log_end };
                self.consumer.context().tell(out);
            } else {
                within.push(Arc::clone(&lane.inbox));
            }
        }
        // It has asked for an offset of its own making, or the log cannot be asked; it fetches that partition no more.
        self.fetch_again(&within);
    }

    /// Has the partition fetched from there.
    pub(super) fn set_back(&self, id: &PartitionId, offset: i64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&id.topic, id.partition, Offset::Offset(offset))?;
        let sought = self
            .consumer
            .seek_partitions(list.clone(), SEEK)
            .and_then(|list| list.elements().iter().try_for_each(TopicPartitionListElem::error));
        match sought {
            // After an offset that the log does not have, librdkafka has stopped the partition, and takes no seek any more.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::State) => {
                self.consumer.incremental_unassign(&one(id))?;
                self.consumer.incremental_assign(&list)
            }
            sought => sought,
        }
    }

    /// A record has come among the events and not where records come. As a rule its partition has gone; the others were set apart
    /// before they were assigned. Where it has not, nothing says what else came there, so it is fetched again.
    pub(super) fn astray(&mut self, topic: &str, partition: i32) {
        self.refresh();
        let of_it = |inbox: &&Arc<Inbox>| inbox.id.partition == partition && &*inbox.id.topic == topic;
        let inbox = self.known.lanes.iter().map(|lane| &lane.inbox).find(of_it).cloned();
        if let Some(inbox) = inbox {
            self.fetch_again(&[inbox]);
        }
    }

    /// Sets partitions back to what the engine has not taken yet.
    fn fetch_again(&mut self, inboxes: &[Arc<Inbox>]) {
        self.flush();
        for inbox in inboxes {
            let lane = self.known.lanes.iter_mut().find(|lane| Arc::ptr_eq(&lane.inbox, inbox));
            let Some(lane) = lane else { continue };
            let Some(next) = lane.next else { continue };
            lane.flow = lane.flow.again();
            // A seek that waits for its turn sets the partition back anyway, and not to where this one would.
            if self.seeks.iter().any(|(seek, _)| Arc::ptr_eq(&seek.inbox, inbox)) {
                continue;
            }
            let offset = inbox.begin_refetch(next);
            self.seek(Seek { inbox: Arc::clone(inbox), offset, by_engine: false });
        }
    }
}
