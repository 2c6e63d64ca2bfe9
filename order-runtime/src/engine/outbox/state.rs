//! What the relay, the partition owners and the health checks share: how much waits to be published, and why it does not leave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    engine::observe::{OutboxView, progress::STORE_ANSWERS},
    model::Health,
    store::{OUTBOX_LIMIT, OutboxRecord, OutboxSize},
};

/// The producer answers within this time, whatever its time limit for a delivery: that is half of it by default.
const BROKER_ANSWERS: Duration = Duration::from_mins(10);
/// The outbox may hold this many bytes before partitions pause: of the largest records, the store's disk would take few.
const BACKLOG_BYTES: u64 = 256 * 1024 * 1024;

/// What the relay and the owners share.
#[derive(Debug, Default)]
pub(crate) struct OutboxState {
    pub(super) wake: Notify,
    /// Notifies owners that the outbox is no longer full.
    room: Notify,
    sizes: Mutex<Sizes>,
    /// Why records do not leave, and how many of them were refused.
    trouble: Mutex<Trouble>,
    /// What the relay waits for, and since when.
    waits: Mutex<Option<(Awaited, Instant)>>,
    /// The relay's task has ended without being asked to.
    ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Sizes {
    /// What waits, as far as is known; never below what this process has written and not published.
    waits: OutboxSize,
    /// All that this process has written.
    written: OutboxSize,
}

/// Why records do not leave.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// One text for each reason.
    pub(super) reasons: Vec<String>,
    /// Rows that a topic refuses; they are in the store.
    pub(super) refused: u64,
}

/// What a relay waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Store,
    Broker,
}

impl OutboxState {
    /// Rows were committed.
    pub(crate) fn added(&self, rows: &[OutboxRecord]) {
        if !rows.is_empty() {
            let bytes: usize = rows.iter().map(|row| row.record.size()).sum();
            let added = OutboxSize { rows: rows.len() as u64, bytes: bytes as u64 };
            let mut sizes = self.sizes.lock();
            sizes.waits.add(added);
            sizes.written.add(added);
            drop(sizes);
            self.wake.notify_one();
        }
    }

    /// Rows have left.
    pub(super) fn published(&self, size: OutboxSize) {
        let mut sizes = self.sizes.lock();
        let was_full = is_full(sizes.waits);
        // Rows that a former run or another instance has written were never added.
        sizes.waits.subtract(size);
        let is_full = is_full(sizes.waits);
        drop(sizes);
        self.notify_of_room(was_full, is_full);
    }

    /// All that this process has written, for [`counted`](Self::counted).
    pub(super) fn written(&self) -> OutboxSize {
        self.sizes.lock().written
    }

    /// The store holds rows of this size; `written` was read before the store was asked, so that rows which were added meanwhile
    /// count whether or not the store has seen them.
    pub(super) fn counted(&self, size: OutboxSize, written: OutboxSize) {
        let mut sizes = self.sizes.lock();
        let was_full = is_full(sizes.waits);
        let mut added = sizes.written;
        added.subtract(written);
        sizes.waits = size;
        sizes.waits.add(added);
        let is_full = is_full(sizes.waits);
        drop(sizes);
        self.notify_of_room(was_full, is_full);
    }

    fn notify_of_room(&self, was_full: bool, is_full: bool) {
        if was_full && !is_full {
            self.room.notify_waiters();
        }
    }

    /// Ends when a full outbox is no longer full, from this call on.
    pub(crate) fn room(&self) -> impl Future<Output = ()> + '_ {
        self.room.notified()
    }

    /// What waits to be published.
    pub(crate) fn view(&self) -> OutboxView {
        let waits = self.sizes.lock().waits;
        OutboxView { records: waits.rows, bytes: waits.bytes, refused: self.trouble.lock().refused }
    }

    /// Whether so much waits to be published that no more should come.
    pub(crate) fn full(&self) -> bool {
        is_full(self.sizes.lock().waits)
    }

    /// How many rows are to be published.
    pub(crate) fn backlog(&self) -> u64 {
        self.sizes.lock().waits.rows
    }

    /// Whether everything has been published.
    pub(crate) fn is_empty(&self) -> bool {
        self.backlog() == 0
    }

    /// Why records do not leave; empty where they do.
    pub(crate) fn trouble(&self) -> Vec<String> {
        self.trouble.lock().reasons.clone()
    }

    pub(super) fn set_trouble(&self, trouble: Trouble) {
        *self.trouble.lock() = trouble;
    }

    /// Why the relay itself does not move, where it does not.
    pub(crate) fn standstill(&self) -> Health {
        let mut health = Health::default();
        if self.ended.load(Ordering::Relaxed) {
            health.not_live.push("the outbox relay has ended without being asked to; restart the service".to_owned());
        }
        if let Some((awaited, since)) = *self.waits.lock() {
            let waited = Instant::now().saturating_duration_since(since);
            let seconds = waited.as_secs();
            match awaited {
                Awaited::Store if waited > STORE_ANSWERS => {
                    health.not_ready.push(format!("the store has not answered the outbox relay for {seconds} s"));
                }
                Awaited::Broker if waited > BROKER_ANSWERS => {
                    health.not_live.push(format!("the producer has not told for {seconds} s what became of records"));
                }
                Awaited::Store | Awaited::Broker => {}
            }
        }
        health
    }

    /// Notes what the relay waits for, until the answer is there.
    pub(super) async fn waiting_for<T>(&self, awaited: Awaited, answer: impl Future<Output = T>) -> T {
        *self.waits.lock() = Some((awaited, Instant::now()));
        let answer = answer.await;
        *self.waits.lock() = None;
        answer
    }
}

fn is_full(size: OutboxSize) -> bool {
    size.rows > OUTBOX_LIMIT || size.bytes > BACKLOG_BYTES
}

/// Notes that the relay has ended by a panic: otherwise it only ends by being dropped, which is intended.
pub(super) struct EndIsNoted(pub(super) Arc<OutboxState>);

impl Drop for EndIsNoted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.ended.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use crate::engine::outbox::state::*;

    fn rows(rows: u64) -> OutboxSize {
        OutboxSize { rows, bytes: 0 }
    }

    #[test]
    fn whoever_waits_for_room_is_told_of_it() {
        let outbox = OutboxState::default();
        outbox.counted(rows(OUTBOX_LIMIT + 2), rows(0));
        let mut room = Box::pin(outbox.room());
        outbox.published(rows(1));
        assert!(outbox.full() && room.as_mut().now_or_never().is_none(), "it is still full");
        outbox.published(rows(1));
        assert!(room.now_or_never().is_some());
        outbox.counted(rows(OUTBOX_LIMIT + 1), rows(0));
        let room = outbox.room();
        outbox.counted(rows(0), rows(0));
        assert!(room.now_or_never().is_some(), "the store has counted, and there is nothing left");
    }

    #[test]
    fn rows_that_are_written_while_the_store_counts_are_not_forgotten() {
        let outbox = OutboxState::default();
        let before = outbox.written();
        outbox.sizes.lock().written = OutboxSize { rows: 2, bytes: 20 };
        outbox.counted(OutboxSize { rows: 1, bytes: 5 }, before);
        assert_eq!(outbox.view(), OutboxView { records: 3, bytes: 25, refused: 0 });
    }

    #[test]
    fn bytes_of_an_outbox_that_another_instance_publishes_follow_the_store() {
        let outbox = OutboxState::default();
        let large = OutboxSize { rows: 10, bytes: BACKLOG_BYTES + 1 };
        outbox.counted(large, rows(0));
        assert!(outbox.full());
        // Somebody else has published most of them.
        outbox.counted(OutboxSize { rows: 1, bytes: 100 }, rows(0));
        assert_eq!((outbox.full(), outbox.view().bytes), (false, 100));
    }
}
