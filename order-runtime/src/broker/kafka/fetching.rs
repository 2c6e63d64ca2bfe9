//! Carries out what the policy decides and the engine commands: seeks, pauses, refetches.
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
    consumer::Command,
    fetch_policy::{FetchAction, FetchDecision, FetchView, Withheld},
    ffi,
    inbox::Inbox,
    poller::{Polled, Seek},
};
use crate::{broker::ConsumerEvent, model::PartitionId};

/// The interval between checks of what librdkafka knows about each partition.
const CHECK: Duration = Duration::from_secs(1);
/// The time limit of a seek.
const SEEK: Duration = Duration::from_secs(2);
/// The delay before a failed seek is retried.
const SEEK_AGAIN: Duration = Duration::from_millis(200);

impl Polled {
    /// Lets the policy decide, and carries out its actions.
    pub(super) fn control_fetching(&mut self) -> FetchDecision {
        self.refresh();
        let now = Instant::now();
        let connected = self.membership.shared.connected();
        let view = |inbox: &Inbox| {
            let view = inbox.view();
            FetchView { has_more: view.has_more && connected, ..view }
        };
        let views: Vec<_> = self.known.feeds.iter().map(|feed| view(&feed.inbox)).collect();
        let decision = self.policy.decide(&views, now);
        if now - self.checked >= CHECK {
            self.checked = now;
            self.check_partitions(&views);
        }
        for (place, action) in &decision.actions {
            self.act(*place, *action);
        }
        decision
    }

    fn act(&mut self, place: usize, action: FetchAction) {
        let inbox = Arc::clone(&self.known.feeds[place].inbox);
        let id = &inbox.id;
        match action {
            FetchAction::Hold => {
                inbox.withhold(Withheld::Full);
                ffi::set_apart(self.consumer.client(), &id.topic, id.partition);
            }
            FetchAction::Release => {
                inbox.stop_withholding();
                self.lead_here(id);
            }
            FetchAction::Pause if inbox.withhold(Withheld::Paused) => self.pause(id),
            FetchAction::Resume if inbox.stop_withholding() => self.resume(id),
            FetchAction::Pause | FetchAction::Resume => {}
            FetchAction::Refetch => {
                if self.membership.shared.log_throttle.due("stalled") {
                    let (next, log_end) = (self.known.feeds[place].next, inbox.log_end(None));
                    warn!(partition = %id, next, log_end, "no records arrive although the log has more; fetching again");
                }
                self.refetch(&[inbox]);
            }
        }
    }

    /// Notes the ends of the logs and missing records, and takes records that librdkafka keeps elsewhere.
    fn check_partitions(&self, views: &[FetchView]) {
        for (place, (feed, view)) in self.known.feeds.iter().zip(views).enumerate() {
            let id = &feed.inbox.id;
            feed.inbox.log_end(ffi::known_log_end(self.consumer.client(), &id.topic, id.partition));
            if view.expects_records() {
                // If librdkafka has restarted the partition since, its records wait in a queue of their own.
                self.lead_here(id);
            }
            feed.inbox.set_silent(self.policy.silent_since(place));
        }
    }

    /// Carries out the engine's commands, and a failed seek that is due again.
    pub(super) fn obey(&mut self) {
        let now = Instant::now();
        if let Some(place) = self.seeks.iter().position(|(_, due)| *due <= now) {
            let (seek, _) = self.seeks.swap_remove(place);
            self.seek(seek);
        }
        while let Some(command) = self.membership.next_command() {
            match command {
                Command::Pause(id) => self.pause(&id),
                Command::Resume(id) => self.resume(&id),
                Command::Seek(inbox, offset) => self.seek(Seek { inbox, offset, by_engine: true }),
            }
        }
    }

    fn seek(&mut self, seek: Seek) {
        self.refresh();
        // The last seek counts; an earlier one that waits for its retry is cancelled.
        self.seeks.retain(|(former, _)| {
            let same = Arc::ptr_eq(&former.inbox, &seek.inbox);
            if same {
                former.inbox.sought(former.by_engine);
            }
            !same
        });
        let Seek { inbox, offset, by_engine } = &seek;
        if !self.known.restart(inbox, *offset) {
            return;
        }
        let id = &inbox.id;
        match self.set_back(id, *offset) {
            Ok(()) => {
                // The seek has ended any hold.
                self.lead_here(id);
                if inbox.sought(*by_engine) {
                    self.resume(id);
                } else {
                    self.pause(id);
                }
            }
            Err(error) => {
                // The inbox stays closed until the seek succeeds, so that nothing is handled out of order.
                if self.membership.shared.log_throttle.due("seek") {
                    warn!(partition = %id, offset, %error, "the seek in the partition has failed; trying again");
                }
                self.seeks.push((seek, Instant::now() + SEEK_AGAIN));
            }
        }
    }

    fn pause(&self, id: &PartitionId) {
        if let Err(error) = self.consumer.pause(&one(id)) {
            warn!(partition = %id, %error, "failed to pause the partition; its records wait in memory");
        }
    }

    fn resume(&self, id: &PartitionId) {
        if let Err(error) = self.consumer.resume(&one(id)) {
            warn!(partition = %id, %error, "failed to resume the partition");
        }
    }

    /// Forwards a partition's records to the queue that this thread takes from.
    pub(super) fn lead_here(&self, id: &PartitionId) {
        self.fetched.lead_here(&id.topic, id.partition);
    }

    /// Sets partitions back to the first record that the engine has not taken yet.
    fn refetch(&mut self, inboxes: &[Arc<Inbox>]) {
        self.flush();
        for inbox in inboxes {
            let Some(place) = self.known.feeds.iter().position(|feed| Arc::ptr_eq(&feed.inbox, inbox)) else {
                continue;
            };
            let Some(next) = self.known.feeds[place].next else { continue };
            self.policy.refetched(place, Instant::now());
            // A seek that waits for its retry sets the partition anyway, and to another offset.
            if self.seeks.iter().any(|(seek, _)| Arc::ptr_eq(&seek.inbox, inbox)) {
                continue;
            }
            let offset = inbox.begin_refetch(next);
            self.seek(Seek { inbox: Arc::clone(inbox), offset, by_engine: false });
        }
    }

    /// Fetches all partitions again, after a batch with a wrong checksum.
    pub(super) fn damaged(&mut self) {
        if self.membership.shared.log_throttle.due("checksum") {
            warn!("a batch of records has arrived damaged; fetching again");
        }
        self.refresh();
        let all: Vec<_> = self.known.feeds.iter().map(|feed| Arc::clone(&feed.inbox)).collect();
        self.refetch(&all);
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
        self.refetch(&within);
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
            self.refetch(&[inbox]);
        }
    }
}

fn one(id: &PartitionId) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(&id.topic, id.partition);
    list
}
