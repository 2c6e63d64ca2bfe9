//! Backpressure: bounds the records in memory when partition owners take fewer than arrive.
//!
//! Pausing partitions is not suitable: a pause drops records that are fetched already, and if all partitions are paused,
//! librdkafka checks them only once a second.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Thread},
    time::Duration,
};

use parking_lot::Mutex;
use rdkafka::consumer::Consumer as _;
use tokio::time::Instant;

use super::{
    ffi,
    inbox::Room,
    poller::{Known, Polled},
};
use crate::model::PartitionId;

/// The capacity of all inboxes together, in bytes. Each partition has an equal share, but at least [`INBOX_LEAST`]. With twice as
/// much, and all partition owners busy, the process takes 67 MiB instead of 47, for a few per cent of speed.
const INBOXES: usize = 4 * 1024 * 1024;
/// The smallest share in bytes. A larger record is accepted nevertheless.
const INBOX_LEAST: usize = 256 * 1024;
/// How long nothing is taken of any partition because one inbox is full. A partition owner takes all waiting records when its
/// last batch is done, which is soon. After this time, a slower partition does not hold up the others.
const ROOM_SOON: Duration = Duration::from_millis(20);
/// The same if no other partition is busy, so that none is held up. If the records were left to librdkafka, they would wait for
/// the fetch response of the other partitions, which the broker holds back while those have no records: a hot partition ran at a
/// third of its speed.
const ROOM_ALONE_SOON: Duration = Duration::from_millis(100);
/// The same if most inboxes are more than half full. All partitions wait for the store then, and this limit keeps memory small.
const ROOM_FOR_ALL_SOON: Duration = Duration::from_millis(250);

/// The capacity of one inbox in bytes, for this number of partitions.
pub(super) fn share(partitions: usize) -> usize {
    (INBOXES / partitions.max(1)).max(INBOX_LEAST)
}

/// Lets the poll thread wait until a partition owner takes records.
#[derive(Default)]
pub(super) struct Taken {
    waiting: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Taken {
    /// Waits until records are taken, at most for `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        self.thread.lock().get_or_insert_with(thread::current);
        self.waiting.store(true, Ordering::Release);
        // Records that were taken just before this are noticed after the time limit.
        thread::park_timeout(limit);
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Wakes the poll thread, because records were taken.
    pub(super) fn tell(&self) {
        if self.waiting.load(Ordering::Relaxed)
            && self.waiting.swap(false, Ordering::Acquire)
            && let Some(thread) = &*self.thread.lock()
        {
            thread.unpark();
        }
    }
}

impl Polled {
    /// Whether records may be taken: not while an inbox is full, unless it stays full for too long.
    pub(super) fn look_for_room(&mut self) -> Room {
        let Known { feeds, limit, .. } = &mut self.known;
        let filled = feeds.iter().filter(|feed| feed.inbox.bytes() > *limit / 2).count();
        let soon = if filled * 2 > feeds.len() {
            ROOM_FOR_ALL_SOON
        } else if filled > 0 && feeds.iter().filter(|feed| feed.inbox.is_busy()).count() <= 1 {
            ROOM_ALONE_SOON
        } else {
            ROOM_SOON
        };
        let mut room = Room::Free;
        for feed in feeds {
            let of_lane = feed.inbox.room(*limit);
            if of_lane == Room::Full {
                let since = *feed.full_since.get_or_insert_with(Instant::now);
                if since.elapsed() < soon {
                    room = Room::Full;
                    continue;
                }
                // Further records wait in librdkafka, which soon stops fetching them.
                feed.inbox.hold();
                ffi::set_apart(self.consumer.client(), &feed.inbox.id.topic, feed.inbox.id.partition);
            }
            feed.full_since = None;
            match of_lane {
                Room::Freed => self.fetched.lead_here(&feed.inbox.id.topic, feed.inbox.id.partition),
                Room::Full | Room::Held if room == Room::Free => room = Room::Held,
                Room::Free | Room::Full | Room::Held => {}
            }
        }
        room
    }

    pub(super) fn lead_here(&self, id: &PartitionId) {
        self.fetched.lead_here(&id.topic, id.partition);
    }
}
