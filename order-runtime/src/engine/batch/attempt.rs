//! One attempt at one event: called once on the spot, and driven further only if it is not ready then.
//!
//! Most processors never wait, because their rows were loaded with the batch; such an attempt costs its own future and
//! nothing else: no task, no channel, no timer.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    dispatch::{Delivery, Outcome},
    engine::retry::waiting::{QueueId, Waiter},
    model::{RecordBatch, RecordRef},
    registry::ProcessorEntry,
    store::WaitingRow,
    telemetry::logs,
    unit_of_work::LookupFailure,
};

/// An event to be handled: its record, and what is known from before if it has waited.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) records: Arc<RecordBatch>,
    pub(crate) index: usize,
    /// The row in which it waits; `None` for a record that has just come.
    pub(crate) row: Option<Arc<WaitingRow>>,
    /// Failed attempts so far.
    pub(crate) attempts: u32,
    /// When the first of them failed.
    pub(crate) first_failed_at: Option<Timestamp>,
}

impl Item {
    /// A record that has just come.
    pub(crate) fn new(records: Arc<RecordBatch>, index: usize) -> Self {
        Self { records, index, row: None, attempts: 0, first_failed_at: None }
    }

    /// An event that has waited.
    pub(crate) fn waited(waiter: &Waiter) -> Self {
        Self {
            records: Arc::clone(&waiter.records),
            index: 0,
            attempts: waiter.row.attempts,
            first_failed_at: waiter.row.first_failed_at,
            row: Some(Arc::clone(&waiter.row)),
        }
    }

    /// An attempt at it has failed; `counts` says whether it is one of its budget.
    pub(crate) fn count_failure(&mut self, now: Timestamp, counts: bool) {
        self.attempts += u32::from(counts);
        self.first_failed_at.get_or_insert(now);
    }

    pub(crate) fn record(&self) -> RecordRef<'_> {
        #[expect(clippy::expect_used, reason = "an item is made with an index of its own batch")]
        self.records.get(self.index).expect("an item's record is in its batch")
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The processor returned.
    Returned(Outcome),
    /// It panicked with this message.
    Panicked(String),
    /// It took longer than this.
    TimedOut(Duration),
    /// A look-up gets no answer, so it was dropped.
    LookupFailed(LookupFailure),
}

/// An attempt that was driven to its end, with its queue.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) queue: QueueId,
    pub(crate) ended: EndedAttempt,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct EndedAttempt {
    pub(crate) item: Item,
    pub(crate) processor: usize,
    pub(crate) delivery: Delivery,
    pub(crate) end: End,
    /// How long it took, where it did not end on the spot.
    pub(crate) elapsed: Option<Duration>,
}

/// What a processor returns when it is called.
pub(crate) type ProcessorFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// An attempt after its first poll.
pub(crate) enum Attempt {
    /// It ended at once.
    Ended(End),
    /// It waits for something.
    Pending(ProcessorFuture),
}

/// Calls the processor and polls it once.
pub(crate) fn begin(entry: &ProcessorEntry, delivery: &Delivery) -> Attempt {
    // Whoever drives the future further polls it again first, with a waker of its own.
    let mut context = Context::from_waker(Waker::noop());
    let begin = || {
        let mut future = (entry.handler)(delivery.clone());
        match future.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => Attempt::Ended(End::Returned(outcome)),
            Poll::Pending => match delivery.changes().lookups.take_failure() {
                Some(failure) => Attempt::Ended(End::LookupFailed(failure)),
                None => Attempt::Pending(future),
            },
        }
    };
    let begun = std::panic::catch_unwind(AssertUnwindSafe(|| logs::during(delivery, begin)));
    begun.unwrap_or_else(|panic| Attempt::Ended(End::Panicked(message(&*panic))))
}

/// Drives an attempt to its end, or to its timeout.
pub(crate) fn drive(
    future: ProcessorFuture,
    timeout: Duration,
    item: Item,
    queue: QueueId,
    processor: usize,
    delivery: Delivery,
) -> BoxFuture<'static, Finished> {
    let begun = Instant::now();
    Box::pin(async move {
        let (mut processor_future, told) = (future, delivery.clone());
        let future = std::future::poll_fn(move |context| {
            match logs::during(&told, || processor_future.as_mut().poll(context)) {
                Poll::Ready(outcome) => Poll::Ready(End::Returned(outcome)),
                Poll::Pending => {
                    let failure = told.changes().lookups.take_failure();
                    failure.map_or(Poll::Pending, |failure| Poll::Ready(End::LookupFailed(failure)))
                }
            }
        });
        let mut future = AssertUnwindSafe(future).catch_unwind();
        let mut left = timeout;
        let end = loop {
            match tokio::time::timeout(left, &mut future).await {
                Ok(Ok(end)) => break end,
                Ok(Err(panic)) => break End::Panicked(message(&*panic)),
                Err(_elapsed) => {}
            }
            // A store that is slow is not the processor's fault: the time of its look-ups is given back.
            left = delivery.changes().lookups.take();
            if left.is_zero() {
                break End::TimedOut(timeout);
            }
        };
        Finished { queue, ended: EndedAttempt { item, processor, delivery, end, elapsed: Some(begun.elapsed()) } }
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the panic carried no message".to_owned())
}
