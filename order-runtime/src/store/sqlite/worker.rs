//! A thread that owns one connection and does what it is asked, one thing after the other.
//!
//! SQLite blocks its caller; the tasks of the runtime wait for an answer instead.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The tasks' side of such a thread.
///
/// When it is dropped without [`close`](Worker::close), the thread ends by itself after the jobs that it already has.
pub(super) struct Worker {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts the thread; `end` gets the connection after the last job.
    pub(super) fn start(
        name: &str,
        mut connection: Connection,
        end: impl FnOnce(Connection) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in queue {
                job(&mut connection);
            }
            end(connection);
        })?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Does `work` on the thread. It is done even when the caller does not wait for the answer.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = guarded(|| work(connection));
            // Whoever asked may have gone.
            let _ = answer.send(result);
        });
        let queued = self.jobs.lock().as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !queued {
            return Err(closed());
        }
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Lets the thread finish its jobs and waits until it has ended.
    pub(super) async fn close(&self) {
        drop(self.jobs.lock().take());
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of a job is caught where it happens; the thread itself has nothing to report.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// Makes an error of a panic: the statements of an entity are code from outside of this crate. A transaction that a panic
/// leaves behind is rolled back by its guard, so the connection stays fit for use.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Refused("a statement panicked; see the log".to_owned())))
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}
