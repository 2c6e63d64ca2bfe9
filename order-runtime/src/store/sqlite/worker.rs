//! A thread that owns one connection and runs jobs on it, one after the other.
//!
//! SQLite blocks its caller. The tasks of the runtime hand their jobs to this thread and await the answers.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        mpsc::{self, RecvTimeoutError, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// How often an idle thread runs its chore.
const CHORE: Duration = Duration::from_secs(1);

/// Number of SQLite's instructions between two checks of a query's limits; about 50 µs.
const LOOK_AFTER: i32 = 10_000;

struct Job {
    work: Box<dyn FnOnce(&mut Connection) + Send>,
    /// Expired when the caller no longer waits for the answer.
    asked: Weak<()>,
}

/// The duties and limits of a thread.
pub(super) struct Duties {
    /// The thread's name.
    pub(super) name: &'static str,
    /// The maximum number of waiting jobs; a further one is refused.
    pub(super) queue: usize,
    /// Time limit of each job. With a limit, a job is also interrupted when its caller stops waiting; without one, it always
    /// runs to its end.
    pub(super) limit: Option<Duration>,
    /// Runs every second while there are no jobs.
    pub(super) chore: Box<dyn Fn() + Send>,
    /// Gets the connection after the last job.
    pub(super) end: Box<dyn FnOnce(Connection) + Send>,
}

/// The handle of such a thread.
///
/// When it is dropped without [`close`](Worker::close), the thread ends after its queued jobs.
pub(super) struct Worker {
    jobs: Mutex<Option<mpsc::SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    limit: Option<Duration>,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(mut connection: Connection, duties: Duties) -> io::Result<Self> {
        let Duties { name, queue, limit, chore, end } = duties;
        let (jobs, waiting) = mpsc::sync_channel::<Job>(queue);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let running = Arc::new(Mutex::new(None));
            if limit.is_some() {
                watch_limits(&mut connection, Arc::clone(&running));
            }
            loop {
                let job = match waiting.recv_timeout(CHORE) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => {
                        chore();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if let Some(limit) = limit {
                    if job.asked.strong_count() == 0 {
                        continue;
                    }
                    *running.lock() = Some(Running { asked: job.asked, until: Instant::now() + limit });
                }
                (job.work)(&mut connection);
                *running.lock() = None;
            }
            end(connection);
        })?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)), limit })
    }

    /// Runs `work` on the thread. If the thread has no limit, `work` runs even when the caller stops waiting for the answer.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let limit = self.limit;
        let (answer, answered) = oneshot::channel();
        // Dropped with this future.
        let asked = Arc::new(());
        let work = Box::new(move |connection: &mut Connection| {
            let begun = Instant::now();
            let result = guarded(|| work(connection)).map_err(|error| explained(error, begun, limit));
            // The caller may no longer wait.
            let _ = answer.send(result);
        });
        let queued = match &*self.jobs.lock() {
            Some(jobs) => jobs.try_send(Job { work, asked: Arc::downgrade(&asked) }).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Unavailable("too many queries are waiting".to_owned()),
                TrySendError::Disconnected(_) => closed(),
            }),
            None => Err(closed()),
        };
        queued?;
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

/// The limits of the job that runs.
struct Running {
    asked: Weak<()>,
    until: Instant,
}

impl Running {
    fn is_over(&self) -> bool {
        self.asked.strong_count() == 0 || Instant::now() >= self.until
    }
}

/// Makes SQLite interrupt a statement when its job exceeds the time limit or the caller no longer waits for the answer.
fn watch_limits(connection: &mut Connection, running: Arc<Mutex<Option<Running>>>) {
    let over = move || running.lock().as_ref().is_some_and(Running::is_over);
    if let Err(error) = connection.progress_handler(LOOK_AFTER, Some(over)) {
        tracing::warn!(%error, "failed to set the limits of the store's queries; they are not interrupted");
    }
}

/// Replaces the error of a statement that the time limit has interrupted by one that names the limit.
fn explained(error: StoreError, begun: Instant, limit: Option<Duration>) -> StoreError {
    match limit {
        Some(limit) if begun.elapsed() >= limit && matches!(error, StoreError::Unavailable(_)) => {
            StoreError::Unavailable(format!("a query took longer than {} s and was interrupted", limit.as_secs_f32()))
        }
        _ => error,
    }
}

/// Turns a panic into an error, because the statements of an entity are code from outside of this crate. The guard of an open
/// transaction rolls it back, so that the connection remains usable.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Refused("a statement panicked; see the log".to_owned())))
}

fn closed() -> StoreError {
    StoreError::Unavailable("it is closed".to_owned())
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream::FuturesUnordered};

    use super::*;

    const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    fn worker(limit: Duration) -> Worker {
        let duties = Duties { name: "test", queue: 1, limit: Some(limit), chore: Box::new(|| {}), end: Box::new(drop) };
        Worker::start(Connection::open_in_memory().expect("a database"), duties).expect("a thread")
    }

    async fn ask(worker: &Worker, sql: &'static str) -> Result<i64, StoreError> {
        worker.run(move |db| Ok(db.query_row(sql, [], |row| row.get(0))?)).await
    }

    #[tokio::test]
    async fn a_query_ends_at_its_limit() {
        let worker = worker(Duration::from_millis(50));
        let ended = ask(&worker, ENDLESS).await;
        assert!(
            matches!(&ended, Err(StoreError::Unavailable(text)) if text.contains("took longer than 0.05 s")),
            "{ended:?}"
        );
        assert_eq!(ask(&worker, "SELECT 7").await.expect("an answer"), 7, "the next one is answered");
    }

    #[tokio::test]
    async fn a_query_ends_with_its_caller() {
        let worker = worker(Duration::from_hours(1));
        // The abandoned query may still be in the queue, which is then full.
        let accepted = async |sql| loop {
            match ask(&worker, sql).await {
                Err(StoreError::Unavailable(text)) if text.contains("too many") => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                answer => return answer,
            }
        };
        for _ in 0..3 {
            let given_up = tokio::time::timeout(Duration::from_millis(10), accepted(ENDLESS)).await;
            assert!(given_up.is_err(), "it does not end by itself: {given_up:?}");
        }
        let next = tokio::time::timeout(Duration::from_secs(10), accepted("SELECT 7")).await;
        assert_eq!(next.expect("the thread is free again").expect("an answer"), 7);
    }

    #[tokio::test]
    async fn a_query_is_refused_when_too_many_wait() {
        let worker = worker(Duration::from_hours(1));
        let mut asked: FuturesUnordered<_> = (0..3).map(|_| ask(&worker, ENDLESS)).collect();
        let first = asked.next().await.expect("an answer");
        assert!(matches!(&first, Err(StoreError::Unavailable(text)) if text.contains("too many queries")), "{first:?}");
    }
}
