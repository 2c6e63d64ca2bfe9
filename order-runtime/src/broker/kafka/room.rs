//! Making room: what happens where owners take less than arrives.
//!
//! A pause is no way to do it: it drops what is fetched already, and where all partitions pause, librdkafka looks after them once
//! a second only.

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

/// What waits in all inboxes together, in bytes; each partition has its share, and at least [`INBOX_LEAST`]. With twice as much, all
/// owners at work at once take 67 MiB in all instead of 47, for a few per cent of speed.
const INBOXES: usize = 4 * 1024 * 1024;
/// The least share; a record that is larger than it is taken all the same.
const INBOX_LEAST: usize = 256 * 1024;
/// For how long nothing is taken of any partition because one has no room. An owner takes all that waits when its last batch is
/// done, which is soon; a partition that is slower than the others does not hold them up.
const ROOM_SOON: Duration = Duration::from_millis(20);
/// The same where no other partition is busy: nobody is held up. Were its records left to librdkafka, they would wait for an
/// answer to the others, which a broker keeps back while they have none: a hot partition went at a third of its speed.
const ROOM_ALONE_SOON: Duration = Duration::from_millis(100);
/// The same where most partitions have little room: all wait for the store then, and this is what keeps the memory small.
const ROOM_FOR_ALL_SOON: Duration = Duration::from_millis(250);

/// How many bytes may wait in the inbox of one of so many partitions.
pub(super) fn share(partitions: usize) -> usize {
    (INBOXES / partitions.max(1)).max(INBOX_LEAST)
}

/// Where the poll thread waits for an owner to take something.
#[derive(Default)]
pub(super) struct Taken {
    waiting: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

impl Taken {
    /// Waits until something is taken, at most for `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        self.thread.lock().get_or_insert_with(thread::current);
        self.waiting.store(true, Ordering::Release);
        // What was taken just before this is seen when the time is over.
        thread::park_timeout(limit);
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Something was taken.
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
    /// Whether records may be taken: not while a partition has no room, unless that lasts.
    pub(super) fn look_for_room(&mut self) -> Room {
        let Known { lanes, limit, .. } = &mut self.known;
        let filled = lanes.iter().filter(|lane| lane.inbox.bytes() > *limit / 2).count();
        let soon = if filled * 2 > lanes.len() {
            ROOM_FOR_ALL_SOON
        } else if filled > 0 && lanes.iter().filter(|lane| lane.inbox.is_busy()).count() <= 1 {
            ROOM_ALONE_SOON
        } else {
            ROOM_SOON
        };
        let mut room = Room::Free;
        for lane in lanes {
            let of_lane = lane.inbox.room(*limit);
            if of_lane == Room::Full {
                let since = *lane.full_since.get_or_insert_with(Instant::now);
                if since.elapsed() < soon {
                    room = Room::Full;
                    continue;
                }
                // The records that follow wait in librdkafka, which soon fetches no more of them.
                lane.inbox.hold();
                ffi::set_apart(self.consumer.client(), &lane.inbox.id.topic, lane.inbox.id.partition);
            }
            lane.full_since = None;
            match of_lane {
                Room::Freed => self.fetched.lead_here(&lane.inbox.id.topic, lane.inbox.id.partition),
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
