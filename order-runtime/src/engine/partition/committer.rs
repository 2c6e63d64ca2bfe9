//! Group commit: one transaction takes the changes of all partitions that are ready when the previous transaction returns.
//!
//! There is no linger and no minimum. A quiet service commits each event at once. A busy service commits more
//! at a time, because more changes become ready while a transaction runs.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    store::{Changes, Committed, Store, StoreError},
    telemetry::metrics::Metrics,
};

/// The limit of one transaction, in bytes of events and rows together. A single request may exceed it.
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
    /// Starts the committer task, which ends when the last handle is dropped.
    pub(crate) fn start(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        let (requests, queue) = mpsc::channel(1024);
        tokio::spawn(commit_all(store, metrics, queue));
        Self { requests }
    }

    /// Whether the task has ended. While a handle exists, only a panic ends it.
    pub(crate) fn has_ended(&self) -> bool {
        self.requests.is_closed()
    }

    /// Commits the changes of one partition in a transaction with those of other partitions that are ready.
    ///
    /// # Errors
    /// The error of the transaction, whose outcome is then unknown; [`StoreError::Unavailable`] if the committer task has ended.
    pub(crate) async fn commit(&self, changes: Arc<Changes>) -> Result<Committed, StoreError> {
        let ended = || StoreError::Unavailable("the committer has ended".to_owned());
        let (answer, result) = oneshot::channel();
        self.requests.send(Request { changes, answer }).await.map_err(|_| ended())?;
        result.await.map_err(|_| ended())?
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
                    // An owner that has ended no longer needs the answer.
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
