//! One attempt at one event: the processor is polled once at its call, and driven further only if it is pending then.
//!
//! Most processors never wait, because their rows were loaded with the batch. Such an attempt costs only its own future:
//! no task, no channel, no timer.

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
    dispatch::{Class, Delivery, FailedAttempt, Outcome},
    engine::retry::waiting::{QueueId, Waiter},
    model::{RecordBatch, RecordRef},
    registry::ProcessorEntry,
    store::WaitingRow,
    telemetry::logs,
    unit_of_work::LookupFailure,
};

/// An event to handle: its record, and the history of its attempts if it has waited.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) records: Arc<RecordBatch>,
    pub(crate) index: usize,
    /// Its waiting row; `None` for a new record.
    pub(crate) row: Option<Arc<WaitingRow>>,
    /// Failed attempts so far.
    pub(crate) attempts: u32,
    /// When the first attempt failed.
    pub(crate) first_failed_at: Option<Timestamp>,
}

impl Item {
    /// The event of a new record.
    pub(crate) fn new(records: Arc<RecordBatch>, index: usize) -> Self {
        Self { records, index, row: None, attempts: 0, first_failed_at: None }
    }

    /// The event of a waiting row.
    pub(crate) fn waited(waiter: &Waiter) -> Self {
        Self {
            records: Arc::clone(&waiter.records),
            index: 0,
            attempts: waiter.row.attempts,
            first_failed_at: waiter.row.first_failed_at,
            row: Some(Arc::clone(&waiter.row)),
        }
    }

    /// Records a failed attempt; `counts` says whether it uses up the event's retry budget.
    pub(crate) fn count_failure(&mut self, now: Timestamp, counts: bool) {
        self.attempts += u32::from(counts);
        self.first_failed_at.get_or_insert(now);
    }

    pub(crate) fn record(&self) -> RecordRef<'_> {
        #[expect(clippy::expect_used, reason = "an item is created with an index of its own batch")]
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
    /// A look-up failed, so the attempt was dropped.
    LookupFailed(LookupFailure),
}

impl End {
    /// Whether the attempt failed; a skip is not a failure.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Returned(Outcome::Done | Outcome::Failed(FailedAttempt { class: Class::Skip, .. })) => false,
            Self::Returned(Outcome::Invalid(_) | Outcome::Failed(_))
            | Self::Panicked(_)
            | Self::TimedOut(_)
            | Self::LookupFailed(_) => true,
        }
    }
}

/// An ended attempt with its key queue.
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
    /// How long it took; `None` if it ended at the first poll.
    pub(crate) elapsed: Option<Duration>,
}

/// The future that a processor returns.
pub(crate) type ProcessorFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// An attempt after its first poll.
pub(crate) enum Attempt {
    /// It ended.
    Ended(End),
    /// It is not ready yet.
    Pending(ProcessorFuture),
}

/// Calls the processor and polls it once.
pub(crate) fn begin(entry: &ProcessorEntry, delivery: &Delivery) -> Attempt {
    // A no-op waker is enough: `drive` polls a pending future again, with a real waker.
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

/// Drives a pending attempt until it ends or times out.
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
        let (mut processor_future, reported) = (future, delivery.clone());
        let future = std::future::poll_fn(move |context| {
            match logs::during(&reported, || processor_future.as_mut().poll(context)) {
                Poll::Ready(outcome) => Poll::Ready(End::Returned(outcome)),
                Poll::Pending => {
                    let failure = reported.changes().lookups.take_failure();
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
            // A slow store must not time out a processor: the time spent in look-ups is added to its limit.
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
