//! The engine's consumer of ranges: it hands out records in order, and keeps them until the engine has committed them, so that
//! the engine can seek back.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Range, RecordSource};
use crate::{
    broker::{Consumer, ConsumerEvent, InboxStatus, PartitionOffer},
    model::{Health, PartitionId, RecordBatch},
};

/// Limit of kept records in bytes. A partition without a record gets one beyond it, so that every partition makes progress.
const BYTES: usize = 16 * 1024 * 1024;

/// A consumer of the records of ranges.
pub(super) struct RangeConsumer {
    state: Mutex<State>,
    /// Notified when the kept bytes decrease or the consumer closes.
    room: Condvar,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<PartitionId, Part>,
    bytes: usize,
    /// Whether every record was read.
    read: bool,
    failed: Option<String>,
    /// The channel to the engine; `None` after the consumer is closed.
    events: Option<mpsc::UnboundedSender<ConsumerEvent>>,
}

impl State {
    fn send(&self, event: ConsumerEvent) {
        if let Some(events) = &self.events {
            // A closed channel means that the engine has ended.
            let _ = events.send(event);
        }
    }
}

struct Part {
    range: Range,
    ready: Arc<Notify>,
    /// Uncommitted records, each in a batch of one.
    records: VecDeque<RecordBatch>,
    /// How many of these records the engine has taken.
    taken: usize,
    /// The offset after the last record that was read.
    end: i64,
    paused: bool,
}

fn offset(record: &RecordBatch) -> i64 {
    record.get(0).map_or(i64::MAX, |record| record.offset)
}

impl RangeConsumer {
    pub(super) fn new(ranges: &[Range], events: mpsc::UnboundedSender<ConsumerEvent>) -> Arc<Self> {
        let part = |range: &Range| Part {
            range: range.clone(),
            ready: Arc::default(),
            records: VecDeque::new(),
            taken: 0,
            end: range.from,
            paused: false,
        };
        let partitions = ranges.iter().map(|range| (range.id.clone(), part(range))).collect();
        let state = State { partitions, events: Some(events), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), room: Condvar::new() })
    }

    /// The assignment offers for the engine, one per range.
    pub(super) fn offers(&self) -> Vec<PartitionOffer> {
        let state = self.state.lock();
        let offer = |part: &Part| PartitionOffer {
            id: part.range.id.clone(),
            log_start: part.range.from,
            log_end: part.range.to,
            committed: None,
            committed_metadata: String::new(),
            ready: Arc::clone(&part.ready),
        };
        state.partitions.values().map(offer).collect()
    }

    /// Reads the records on a separate thread, within the byte limit.
    pub(super) fn fill(self: &Arc<Self>, mut records: impl RecordSource + 'static) {
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            loop {
                match records.next_record() {
                    Ok(Some((partition, record))) => {
                        if !this.add(partition, record) {
                            return;
                        }
                    }
                    Ok(None) => {
                        this.state.lock().read = true;
                        return;
                    }
                    Err(error) => {
                        this.state.lock().failed = Some(error);
                        return;
                    }
                }
            }
        });
    }

    /// Adds a record, and waits while the byte limit is reached; false if the consumer is closed.
    fn add(&self, partition: i32, record: RecordBatch) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.events.is_none() {
                return false;
            }
            let starved =
                state.partitions.iter().any(|(id, part)| id.partition == partition && part.records.is_empty());
            if state.bytes < BYTES || starved {
                break;
            }
            self.room.wait(&mut state);
        }
        state.bytes += record.size();
        let Some((_, part)) = state.partitions.iter_mut().find(|(id, _)| id.partition == partition) else {
            return true;
        };
        part.end = offset(&record) + 1;
        part.records.push_back(record);
        if part.taken + 1 == part.records.len() && !part.paused {
            part.ready.notify_one();
        }
        true
    }

    /// Whether every record was read.
    pub(super) fn is_read(&self) -> bool {
        self.state.lock().read
    }

    /// The error that ended reading.
    pub(super) fn failed(&self) -> Option<String> {
        self.state.lock().failed.clone()
    }

    /// Revokes the partitions from the engine, and waits until it has finished the running batches.
    pub(super) async fn revoke(&self) {
        let (answer, drained) = oneshot::channel();
        {
            let state = self.state.lock();
            let partitions = state.partitions.keys().cloned().collect();
            state.send(ConsumerEvent::Revoked { partitions, lost: false, answer });
        }
        // An engine that has ended sends no answer.
        let _ = drained.await;
    }

    fn change(&self, partition: &PartitionId, change: impl FnOnce(&mut Part)) {
        let mut state = self.state.lock();
        if let Some(part) = state.partitions.get_mut(partition) {
            change(part);
            if !part.paused && part.taken < part.records.len() {
                part.ready.notify_one();
            }
        }
    }
}

impl Consumer for RangeConsumer {
    fn take(&self, partition: &PartitionId, max_records: usize, max_bytes: usize) -> RecordBatch {
        let mut taken = RecordBatch::default();
        let mut state = self.state.lock();
        let Some(part) = state.partitions.get_mut(partition).filter(|part| !part.paused) else { return taken };
        while taken.len() < max_records && (taken.is_empty() || taken.size() < max_bytes) {
            let Some(record) = part.records.get(part.taken).and_then(|record| record.get(0)) else { break };
            taken.push_record(&record);
            part.taken += 1;
        }
        taken
    }

    fn pause(&self, partition: &PartitionId) {
        self.change(partition, |part| part.paused = true);
    }

    fn resume(&self, partition: &PartitionId) {
        self.change(partition, |part| part.paused = false);
    }

    fn seek(&self, partition: &PartitionId, to: i64) {
        self.change(partition, |part| {
            part.taken = part.records.iter().take_while(|record| offset(record) < to).count();
            part.paused = false;
        });
    }

    /// Drops the committed records.
    fn store_offset(&self, partition: &PartitionId, committed: i64, _metadata: &str) {
        let mut state = self.state.lock();
        let State { partitions, bytes, .. } = &mut *state;
        let Some(part) = partitions.get_mut(partition) else { return };
        while part.records.front().is_some_and(|record| offset(record) < committed) {
            *bytes -= part.records.pop_front().map_or(0, |record| record.size());
            part.taken = part.taken.saturating_sub(1);
        }
        self.room.notify_all();
    }

    fn inbox_status(&self, partition: &PartitionId) -> Option<InboxStatus> {
        let state = self.state.lock();
        // The end is known only after all records were read, because transactions and compaction may have left gaps.
        let part = state.partitions.get(partition).filter(|_| state.read)?;
        let next = part.records.get(part.taken).map_or(part.end, offset);
        // The caller waits for the end of the replay, so progress needs no watching.
        Some(InboxStatus {
            log_end: part.end,
            taken: next,
            next,
            ready_since: None,
            silent_since: None,
            transaction_since: None,
        })
    }

    fn health(&self) -> Health {
        Health::default()
    }

    /// Closes the channel to the engine, which ends it, and ends the reading thread.
    fn close(&self) {
        self.state.lock().events = None;
        self.room.notify_all();
    }
}
