//! The outbox state that the relay, the partition owners and the health checks share: the backlog, and why it is not published.

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

/// The time within which the producer must answer. Its default time limit for a delivery is half of it.
const BROKER_ANSWERS: Duration = Duration::from_mins(10);
/// The limit of the outbox in bytes, beyond which partitions pause. A limit on rows alone would let maximum-size records fill the
/// store's disk.
const BACKLOG_BYTES: u64 = 256 * 1024 * 1024;

/// The state that the relay and the partition owners share.
#[derive(Debug, Default)]
pub(crate) struct OutboxState {
    pub(super) wake: Notify,
    /// Notifies partition owners that the outbox is no longer full.
    room: Notify,
    sizes: Mutex<Sizes>,
    /// Why records are not published, and how many of them were refused.
    trouble: Mutex<Trouble>,
    /// The store or broker that the relay waits for, and since when.
    waits: Mutex<Option<(Awaited, Instant)>>,
    /// Whether the relay's task has ended by a panic.
    ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Sizes {
    /// The known backlog; never below the rows that this process has written and not published.
    waits: OutboxSize,
    /// The sum of all rows that this process has written.
    written: OutboxSize,
}

/// Why records are not published.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// One text for each reason.
    pub(super) reasons: Vec<String>,
    /// The number of rows that their topics refuse; they stay in the store.
    pub(super) refused: u64,
}

/// The component that the relay waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    Store,
    Broker,
}

impl OutboxState {
    /// Adds committed rows to the backlog and wakes the relay.
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

    /// Subtracts published rows from the backlog.
    pub(super) fn published(&self, size: OutboxSize) {
        let mut sizes = self.sizes.lock();
        let was_full = is_full(sizes.waits);
        // `subtract` saturates: rows of an earlier run or of another instance were never added.
        sizes.waits.subtract(size);
        let is_full = is_full(sizes.waits);
        drop(sizes);
        self.notify_of_room(was_full, is_full);
    }

    /// The sum of all rows that this process has written, for [`counted`](Self::counted).
    pub(super) fn written(&self) -> OutboxSize {
        self.sizes.lock().written
    }

    /// Sets the backlog to the size that the store reports. `written` was read before the store was asked: rows that were added
    /// since then count whether or not the store's answer includes them.
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

    /// Resolves the next time that the outbox stops being full, counted from this call.
    pub(crate) fn room(&self) -> impl Future<Output = ()> + '_ {
        self.room.notified()
    }

    /// The backlog for operators.
    pub(crate) fn view(&self) -> OutboxView {
        let waits = self.sizes.lock().waits;
        OutboxView { records: waits.rows, bytes: waits.bytes, refused: self.trouble.lock().refused }
    }

    /// Whether the backlog is over its limit, so that partitions pause.
    pub(crate) fn full(&self) -> bool {
        is_full(self.sizes.lock().waits)
    }

    /// The number of rows in the backlog.
    pub(crate) fn backlog(&self) -> u64 {
        self.sizes.lock().waits.rows
    }

    /// Whether everything has been published.
    pub(crate) fn is_empty(&self) -> bool {
        self.backlog() == 0
    }

    /// Why records are not published; empty if they are.
    pub(crate) fn trouble(&self) -> Vec<String> {
        self.trouble.lock().reasons.clone()
    }

    pub(super) fn set_trouble(&self, trouble: Trouble) {
        *self.trouble.lock() = trouble;
    }

    /// The health of the relay itself: whether its task has ended, or an answer is overdue.
    pub(crate) fn standstill(&self) -> Health {
        let mut health = Health::default();
        if self.ended.load(Ordering::Relaxed) {
            health.not_live.push("the outbox relay has ended unexpectedly; restart the service".to_owned());
        }
        if let Some((awaited, since)) = *self.waits.lock() {
            let waited = Instant::now().saturating_duration_since(since);
            let seconds = waited.as_secs();
            match awaited {
                Awaited::Store if waited > STORE_ANSWERS => {
                    health.not_ready.push(format!("the store has not answered the outbox relay for {seconds} s"));
                }
                Awaited::Broker if waited > BROKER_ANSWERS => {
                    health.not_live.push(format!("the producer has reported no delivery results for {seconds} s"));
                }
                Awaited::Store | Awaited::Broker => {}
            }
        }
        health
    }

    /// Waits for an answer, and records whose answer it is and since when it is awaited.
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

/// Records on drop that the relay has ended by a panic. An intended end, in which the relay is dropped, is not recorded.
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
    fn owners_are_notified_when_the_outbox_is_no_longer_full() {
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
        assert!(room.now_or_never().is_some(), "the store reports an empty outbox");
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
        // The other instance has published most of them.
        outbox.counted(OutboxSize { rows: 1, bytes: 100 }, rows(0));
        assert_eq!((outbox.full(), outbox.view().bytes), (false, 100));
    }
}
