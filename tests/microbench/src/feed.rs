//! A consumer of one partition with records from the benchmark.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use order_runtime::{
    broker::{Consumer, ConsumerEvent, InboxStatus, PartitionOffer},
    model::{Health, PartitionId, RecordBatch},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::events;

/// A consumer whose records come from the benchmark itself.
pub(crate) struct Feed {
    partition: PartitionId,
    reported: mpsc::UnboundedSender<ConsumerEvent>,
    ready: Arc<Notify>,
    state: Mutex<State>,
    committed: Notify,
}

#[derive(Default)]
struct State {
    records: RecordBatch,
    log_end: i64,
    committed: i64,
}

impl Feed {
    /// Creates an empty feed, and the channel of its events to the engine.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ConsumerEvent>) {
        let (reported, events) = mpsc::unbounded_channel();
        let feed = Self {
            partition: events::partition(),
            reported,
            ready: Arc::default(),
            state: Mutex::default(),
            committed: Notify::new(),
        };
        (Arc::new(feed), events)
    }

    /// Assigns the partition to the engine.
    pub(crate) async fn assign(&self) {
        let offer = PartitionOffer {
            id: self.partition.clone(),
            log_start: 0,
            log_end: 0,
            committed: None,
            committed_metadata: String::new(),
            ready: Arc::clone(&self.ready),
        };
        let (answer, started) = oneshot::channel();
        self.reported.send(ConsumerEvent::Assigned { partitions: vec![offer], answer }).expect("the engine listens");
        started.await.expect("the engine answers");
    }

    /// Appends these records, and returns when the engine has committed them.
    pub(crate) async fn handle(&self, records: &RecordBatch) {
        let end = {
            let mut state = self.state.lock();
            for record in records.iter() {
                let offset = state.log_end;
                state.records.push(offset, record.timestamp, record.key, record.payload, []);
                state.log_end += 1;
            }
            state.log_end
        };
        self.ready.notify_one();
        while self.state.lock().committed < end {
            self.committed.notified().await;
        }
    }
}

impl Consumer for Feed {
    fn take(&self, _partition: &PartitionId, max_records: usize, _max_bytes: usize) -> RecordBatch {
        self.state.lock().records.split_front(max_records)
    }

    fn store_offset(&self, _partition: &PartitionId, offset: i64, _metadata: &str) {
        self.state.lock().committed = offset;
        self.committed.notify_one();
    }

    fn inbox_status(&self, _partition: &PartitionId) -> Option<InboxStatus> {
        let State { log_end, ref records, .. } = *self.state.lock();
        let taken = records.get(0).map_or(log_end, |record| record.offset);
        Some(InboxStatus {
            log_end,
            taken,
            next: taken,
            ready_since: None,
            silent_since: None,
            transaction_since: None,
        })
    }

    fn health(&self) -> Health {
        Health::default()
    }

    // The partition is never revoked and its events never wait, so it is neither paused nor sought.
    fn pause(&self, _partition: &PartitionId) {}
    fn resume(&self, _partition: &PartitionId) {}
    fn seek(&self, _partition: &PartitionId, _offset: i64) {}
    fn close(&self) {}
}

/// The output of a future that is ready at its first poll.
pub(crate) fn now_or_never<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => None,
    }
}
