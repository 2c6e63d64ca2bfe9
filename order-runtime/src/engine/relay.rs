//! The outbox relay: publishes what a transaction has left in the outbox, in the order of its rows, and deletes a row
//! only when the broker has acknowledged it.
//!
//! A crash between the two repeats a record under the same `dlq-id`; it never loses one.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tracing::{error, info, warn};

use super::{
    dead_letter,
    observe::{Health, OutboxView},
    progress::STORE_ANSWERS,
};
use crate::{
    broker::{OutgoingRecord, PublishError, Publisher},
    store::{Outbox, OutboxRecord, OutboxRow, Store, StoreError},
};
use parking_lot::Mutex;

/// Rows that are published at once. Each time costs the producer's linger and a way to the broker and back, so a run of bad events
/// goes at twice the speed of 500.
const ROWS: usize = 4_000;
/// Bytes that are published at once; the last step may go beyond them.
const BYTES: usize = 8 * 1024 * 1024;
/// Rows that are read at once: 500 of the largest would be half a gigabyte, and who dies of them would die again of them.
const STEP: usize = 16;
/// How often a relay looks for rows that other instances have written.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The same where there are no other instances: a replay of a range may have written some, and it tells nobody.
const BESIDE_AGAIN: Duration = TOO_LARGE_AGAIN;
/// How often records are tried again that were too large for their topic: its limit may have been raised.
const TOO_LARGE_AGAIN: Duration = Duration::from_secs(10);
/// A producer tells by then, whatever time it is given for a delivery: librdkafka's own default is half of it.
const BROKER_ANSWERS: Duration = Duration::from_mins(10);
/// The outbox may hold this many rows that the broker does not take before partitions pause.
pub(crate) const BACKLOG_LIMIT: u64 = 10_000;
/// The same in bytes: of the largest records, the store's disk would take few.
const BACKLOG_BYTES: u64 = 256 * 1024 * 1024;

/// What the relay and the owners share.
#[derive(Debug, Default)]
pub(crate) struct OutboxState {
    wake: Notify,
    /// Tells owners that it is no longer full.
    room: Notify,
    /// Rows written by this process less rows published by it; never below what is really there.
    backlog: AtomicU64,
    /// The bytes of those rows.
    bytes: AtomicU64,
    /// The broker refuses or does not answer.
    stuck: AtomicBool,
    /// Rows that no topic takes; they stay in the store.
    unpublishable: AtomicU64,
    /// Whom the relay waits for, and since when.
    waits: Mutex<Option<(Whom, Instant)>>,
    /// The relay's task has ended without being asked to.
    ended: AtomicBool,
}

/// Whom a relay waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Store,
    Broker,
}

impl OutboxState {
    /// Rows were committed.
    pub(crate) fn added(&self, rows: &[OutboxRecord]) {
        if !rows.is_empty() {
            let bytes: usize = rows.iter().map(|row| row.record.size()).sum();
            self.backlog.fetch_add(rows.len() as u64, Ordering::Relaxed);
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            self.wake.notify_one();
        }
    }

    fn published(&self, rows: u64, bytes: u64) {
        let was_full = self.full();
        // Rows that a former run left behind were never counted, so neither count may go below zero.
        for (counter, count) in [(&self.backlog, rows), (&self.bytes, bytes)] {
            let less = |known: u64| Some(known.saturating_sub(count));
            let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
        self.tell_of_room(was_full);
    }

    fn tell_of_room(&self, was_full: bool) {
        if was_full && !self.full() {
            self.room.notify_waiters();
        }
    }

    /// Ends when a full outbox is no longer full, from this call on.
    pub(crate) fn room(&self) -> impl Future<Output = ()> + '_ {
        self.room.notified()
    }

    /// There are so many rows, by the store's own count.
    fn counted(&self, rows: u64) {
        let was_full = self.full();
        self.backlog.store(rows, Ordering::Relaxed);
        if rows == 0 {
            self.bytes.store(0, Ordering::Relaxed);
        }
        self.tell_of_room(was_full);
    }

    /// What waits to be published.
    pub(crate) fn view(&self) -> OutboxView {
        OutboxView { records: self.backlog.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Whether so much waits to be published that no more should come.
    pub(crate) fn full(&self) -> bool {
        self.backlog.load(Ordering::Relaxed) > BACKLOG_LIMIT || self.bytes.load(Ordering::Relaxed) > BACKLOG_BYTES
    }

    /// How many rows are to be published.
    pub(crate) fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Whether everything has been published.
    pub(crate) fn is_empty(&self) -> bool {
        self.backlog() == 0
    }

    /// Why records do not leave, where they do not.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.stuck.load(Ordering::Relaxed) {
            return Some("the broker does not take dead letters and emitted events; they wait in the store".to_owned());
        }
        let kept = self.unpublishable.load(Ordering::Relaxed);
        (kept > 0).then(|| format!("{kept} dead letters are too large for their topic and stay in the store"))
    }
}

impl OutboxState {
    /// Why the relay itself does not move, where it does not.
    pub(crate) fn standstill(&self) -> Health {
        let mut health = Health::default();
        if self.ended.load(Ordering::Relaxed) {
            health.not_live.push("the outbox relay has ended without being asked to; restart the service".to_owned());
        }
        if let Some((whom, since)) = *self.waits.lock() {
            let waited = Instant::now().saturating_duration_since(since);
            let seconds = waited.as_secs();
            match whom {
                Whom::Store if waited > STORE_ANSWERS => {
                    health.not_ready.push(format!("the store has not answered the outbox relay for {seconds} s"));
                }
                Whom::Broker if waited > BROKER_ANSWERS => {
                    health.not_live.push(format!("the producer has not told for {seconds} s what became of records"));
                }
                Whom::Store | Whom::Broker => {}
            }
        }
        health
    }

    /// The relay waits for somebody until the answer is there.
    async fn waiting_for<T>(&self, whom: Whom, answer: impl Future<Output = T>) -> T {
        *self.waits.lock() = Some((whom, Instant::now()));
        let answer = answer.await;
        *self.waits.lock() = None;
        answer
    }
}

/// Notes when the relay ends by a panic: it has no other end but to be dropped, and who drops it wants that.
struct EndIsNoted(Arc<OutboxState>);

impl Drop for EndIsNoted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.ended.store(true, Ordering::Relaxed);
        }
    }
}

/// Publishes until it is dropped.
pub(crate) async fn relay(store: Arc<dyn Store>, publisher: Arc<dyn Publisher>, outbox: Arc<OutboxState>) {
    let _ended = EndIsNoted(Arc::clone(&outbox));
    let mut pace = Pace::default();
    let mut kept = Kept::default();
    loop {
        match publish_all(&*store, &*publisher, &outbox, &mut kept).await {
            Ok(()) => {
                outbox.unpublishable.store(kept.rows.len() as u64, Ordering::Relaxed);
                if outbox.stuck.swap(false, Ordering::Relaxed) {
                    info!("the outbox is published again");
                }
                pace = Pace::default();
                // What a former run of the process left behind is found by the first round; later rows are announced,
                // but not those that another instance has written.
                let again = if store.shared() { LOOK_AGAIN } else { BESIDE_AGAIN };
                let _ = tokio::time::timeout(again, outbox.wake.notified()).await;
            }
            Err(problem) => {
                if !outbox.stuck.swap(true, Ordering::Relaxed) {
                    warn!(%problem, "the outbox is not published; its records stay in the store and are tried again");
                }
                tokio::time::sleep(pace.next()).await;
            }
        }
    }
}

/// Rows that are too large for their topic.
#[derive(Debug, Default)]
struct Kept {
    rows: BTreeSet<i64>,
    /// Those that the log has told of.
    told: BTreeSet<i64>,
    /// When they are tried again.
    again: Option<Instant>,
}

impl Kept {
    /// Lets all be tried again when it is time.
    fn forget_in_time(&mut self) {
        if self.again.is_some_and(|again| again <= Instant::now()) {
            self.rows.clear();
            self.again = None;
        }
    }

    fn keep(&mut self, row: i64, topic: &str) {
        self.rows.insert(row);
        self.again.get_or_insert_with(|| Instant::now() + TOO_LARGE_AGAIN);
        if self.told.insert(row) {
            error!(
                row,
                topic,
                "a record is too large for its topic and stays in the store; raise the topic's max.message.bytes"
            );
        }
    }
}

/// What keeps the relay from publishing.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Publish(PublishError),
}

/// Publishes what is in the outbox now, until it is empty.
async fn publish_all(
    store: &dyn Store,
    publisher: &dyn Publisher,
    outbox: &OutboxState,
    kept: &mut Kept,
) -> Result<(), Problem> {
    kept.forget_in_time();
    let mut after = 0;
    loop {
        let mut rows = match outbox.waiting_for(Whom::Store, next_rows(store, after)).await? {
            Outbox::Rows(rows) => rows,
            Outbox::Elsewhere(backlog) => {
                outbox.counted(backlog);
                return Ok(());
            }
        };
        let Some(last) = rows.last() else {
            outbox.counted(kept.rows.len() as u64);
            return Ok(());
        };
        let last = last.id;
        rows.retain(|row| !kept.rows.contains(&row.id));
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let records: Arc<[_]> = rows.into_iter().map(|row| row.record).collect();
        let results = outbox.waiting_for(Whom::Broker, publisher.publish(Arc::clone(&records))).await;
        let mut acknowledged = Vec::with_capacity(ids.len());
        let mut bytes = 0;
        let mut problem = None;
        for ((id, record), result) in ids.into_iter().zip(&*records).zip(results) {
            let published = match result {
                Err(PublishError::TooLarge { .. }) => {
                    outbox.waiting_for(Whom::Broker, publish_shrunk(publisher, record)).await
                }
                result => result.map(drop),
            };
            match published {
                Ok(()) => {
                    acknowledged.push(id);
                    bytes += record.size() as u64;
                }
                Err(PublishError::TooLarge { topic }) => kept.keep(id, &topic),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        let left = acknowledged.len() as u64;
        outbox.waiting_for(Whom::Store, store.published(acknowledged)).await?;
        outbox.published(left, bytes);
        if let Some(error) = problem {
            return Err(Problem::Publish(error));
        }
        after = last;
    }
}

/// The rows after that one, as many as are published at once.
async fn next_rows(store: &dyn Store, after: i64) -> Result<Outbox, StoreError> {
    let mut rows: Vec<OutboxRow> = Vec::new();
    let mut bytes = 0;
    while rows.len() < ROWS && bytes < BYTES {
        let after = rows.last().map_or(after, |row| row.id);
        match store.outbox(after, STEP).await? {
            Outbox::Rows(more) => {
                let is_last = more.len() < STEP;
                bytes += more.iter().map(|row| row.record.size()).sum::<usize>();
                rows.extend(more);
                if is_last {
                    break;
                }
            }
            // Whoever publishes them now has what was read, too.
            elsewhere @ Outbox::Elsewhere(_) => return Ok(elsewhere),
        }
    }
    Ok(Outbox::Rows(rows))
}

async fn publish_shrunk(publisher: &dyn Publisher, record: &OutgoingRecord) -> Result<(), PublishError> {
    let results = publisher.publish([Arc::new(dead_letter::shrink(record))].into()).await;
    results.into_iter().next().map_or(Ok(()), |result| result.map(drop))
}

/// Growing delays between attempts.
#[derive(Debug, Default)]
struct Pace {
    failures: u32,
}

impl Pace {
    fn next(&mut self) -> Duration {
        let delay = Duration::from_millis(100 << self.failures.min(6));
        self.failures += 1;
        delay
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::{
        broker::{HeaderBlock, memory::MemoryBroker},
        engine::tests::rig::partition,
        store::{Changes, memory::MemoryStore},
    };

    #[test]
    fn whoever_waits_for_room_is_told_of_it() {
        let outbox = OutboxState::default();
        outbox.backlog.store(BACKLOG_LIMIT + 2, Ordering::Relaxed);
        let mut room = Box::pin(outbox.room());
        outbox.published(1, 0);
        assert!(outbox.full() && room.as_mut().now_or_never().is_none(), "it is still full");
        outbox.published(1, 0);
        assert!(room.now_or_never().is_some());
        outbox.backlog.store(BACKLOG_LIMIT + 1, Ordering::Relaxed);
        let room = outbox.room();
        outbox.counted(0);
        assert!(room.now_or_never().is_some(), "the store has counted, and there is nothing left");
    }

    fn record(payload: &'static [u8]) -> OutboxRecord {
        let record = OutgoingRecord {
            topic: "things-dlq".into(),
            partition: None,
            key: None,
            payload: Some(payload.into()),
            headers: HeaderBlock::default(),
            timestamp: None,
        };
        OutboxRecord { source_offset: 0, record: record.into() }
    }

    #[tokio::test]
    async fn what_stays_is_counted_with_its_bytes_and_what_left_shrunk_is_not() {
        let (broker, _) = MemoryBroker::new();
        let store = MemoryStore::default();
        let assigned = store.begin(&partition(), 0).await.unwrap();
        let rows = vec![record(b"stays"), record(b"leaves")];
        let stays = rows[0].record.size() as u64;
        let outbox = OutboxState::default();
        outbox.added(&rows);
        let changes = Changes { outbox: rows, ..Changes::of_position(partition(), assigned.revision, 0, 1) };
        store.commit(vec![Arc::new(changes)]).await.unwrap();

        // Both, and the first one again when it has been shrunk.
        for _ in 0..3 {
            broker.fail_publish(PublishError::TooLarge { topic: "things-dlq".to_owned() });
        }
        publish_all(&store, &*broker, &outbox, &mut Kept::default()).await.unwrap();
        assert_eq!(broker.published().len(), 1);
        assert_eq!(outbox.view(), OutboxView { records: 1, bytes: stays });
    }

    #[tokio::test]
    async fn a_relay_that_is_dropped_has_not_ended_by_itself() {
        let (broker, _) = MemoryBroker::new();
        let outbox = Arc::new(OutboxState::default());
        let task = tokio::spawn(relay(Arc::new(MemoryStore::default()), broker, Arc::clone(&outbox)));
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()), "it has begun and was dropped");
        assert_eq!(outbox.standstill(), Health::default());
    }
}
