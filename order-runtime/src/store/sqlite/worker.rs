//! A thread that owns one connection and does what it is asked, one thing after the other.
//!
//! SQLite blocks its caller; the tasks of the runtime wait for an answer instead.

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

/// How often a thread without work does its chore.
const CHORE: Duration = Duration::from_secs(1);

/// SQLite's instructions between two looks at the limits of a query: some 50 µs.
const LOOK_AFTER: i32 = 10_000;

struct Job {
    work: Box<dyn FnOnce(&mut Connection) + Send>,
    /// Gone when nobody waits for the answer any more.
    asked: Weak<()>,
}

/// What a thread is for.
pub(super) struct Duties {
    /// The thread's name.
    pub(super) name: &'static str,
    /// The most jobs that wait; a further one is refused.
    pub(super) queue: usize,
    /// Limits of each job; without them a job is done whatever becomes of its caller.
    pub(super) limit: Option<Duration>,
    /// Done each second while there are no jobs.
    pub(super) chore: Box<dyn Fn() + Send>,
    /// Gets the connection after the last job.
    pub(super) end: Box<dyn FnOnce(Connection) + Send>,
}

/// The tasks' side of such a thread.
///
/// When it is dropped without [`close`](Worker::close), the thread ends by itself after the jobs that it already has.
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

    /// Does `work` on the thread. Where the thread has no limits, it is done even when the caller does not wait for the answer.
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
            // Whoever asked may have gone.
            let _ = answer.send(result);
        });
        let queued = match &*self.jobs.lock() {
            Some(jobs) => jobs.try_send(Job { work, asked: Arc::downgrade(&asked) }).map_err(|error| match error {
                TrySendError::Full(_) => StoreError::Unavailable("too many queries wait for it".to_owned()),
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

/// Has SQLite interrupt a statement when its job's time is over or nobody waits for the answer any more.
fn watch_limits(connection: &mut Connection, running: Arc<Mutex<Option<Running>>>) {
    let over = move || running.lock().as_ref().is_some_and(Running::is_over);
    if let Err(error) = connection.progress_handler(LOOK_AFTER, Some(over)) {
        tracing::warn!(%error, "queries of the store have no limit of time");
    }
}

/// Says that it was the limit that has interrupted a statement.
fn explained(error: StoreError, begun: Instant, limit: Option<Duration>) -> StoreError {
    match limit {
        Some(limit) if begun.elapsed() >= limit && matches!(error, StoreError::Unavailable(_)) => {
            StoreError::Unavailable(format!("a query took longer than {} s and was ended", limit.as_secs_f32()))
        }
        _ => error,
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
        // The one that nobody waits for any more may still be in the queue, which then takes no other.
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
    async fn a_query_is_refused_where_too_many_wait() {
        let worker = worker(Duration::from_hours(1));
        let mut asked: FuturesUnordered<_> = (0..3).map(|_| ask(&worker, ENDLESS)).collect();
        let first = asked.next().await.expect("an answer");
        assert!(matches!(&first, Err(StoreError::Unavailable(text)) if text.contains("too many queries")), "{first:?}");
    }
}
