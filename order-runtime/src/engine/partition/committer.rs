//! Group commit: one transaction takes what has finished on all partitions when the previous one returns.
//!
//! There is no linger and no minimum: a quiet service commits each event as it comes, a busy one commits more at once
//! because more has gathered while the last transaction ran.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    store::{Changes, Committed, Store, StoreError},
    telemetry::metrics::Metrics,
};

/// The most that one transaction takes, in bytes of events and rows together.
const TRANSACTION_BYTES: usize = 8 * 1024 * 1024;

struct Request {
    changes: Arc<Changes>,
    answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// A handle to the committer task.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    requests: mpsc::Sender<Request>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("partition", &self.changes.partition).finish_non_exhaustive()
    }
}

impl Committer {
    /// Starts the task; it ends when the last handle is dropped.
    pub(crate) fn start(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        let (requests, queue) = mpsc::channel(1024);
        tokio::spawn(commit_all(store, metrics, queue));
        Self { requests }
    }

    /// Whether the task has ended, which it does only by a panic as long as there are handles.
    pub(crate) fn has_ended(&self) -> bool {
        self.requests.is_closed()
    }

    /// Commits the changes of one partition together with those of the others that are ready.
    pub(crate) async fn commit(&self, changes: Arc<Changes>) -> Result<Committed, StoreError> {
        let gone = || StoreError::Unavailable("the committer has ended".to_owned());
        let (answer, result) = oneshot::channel();
        self.requests.send(Request { changes, answer }).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

async fn commit_all(store: Arc<dyn Store>, metrics: Arc<Metrics>, mut queue: mpsc::Receiver<Request>) {
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(request) => request,
            None => match queue.recv().await {
                Some(request) => request,
                None => return,
            },
        };
        let mut bytes = first.changes.bytes;
        let mut group = vec![first];
        while let Ok(request) = queue.try_recv() {
            bytes += request.changes.bytes;
            if bytes > TRANSACTION_BYTES {
                left_over = Some(request);
                break;
            }
            group.push(request);
        }
        let changes: Vec<_> = group.iter().map(|request| Arc::clone(&request.changes)).collect();
        let events = changes.iter().map(|changes| changes.to.abs_diff(changes.from)).sum();
        let begun = Instant::now();
        let result = store.commit(changes).await;
        metrics.committed(events, result.is_ok(), begun.elapsed());
        match result {
            Ok(results) => {
                for (request, result) in group.into_iter().zip(results) {
                    // An owner that has gone no longer needs the answer.
                    let _ = request.answer.send(Ok(result));
                }
            }
            Err(error) => {
                for request in group {
                    let _ = request.answer.send(Err(error.clone()));
                }
            }
        }
    }
}
