//! Turns decide which partitions of a process may run events: all of them, or a single event of one partition in quarantine.
//!
//! When a process dies while several events run, nothing shows which of them killed it. So a suspect runs alone
//! in the whole process, not only in its partition.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

/// The turns of all partitions of a process.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The number of shared turns in use.
    shared: usize,
    /// The partitions that want to run an event alone, in order of arrival. The first one may run it when no
    /// shared turn is in use.
    alone: VecDeque<u64>,
    next: u64,
}

/// A partition's turn, or its place in the queue for a turn alone. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    /// The place in the queue for a turn alone; `None` for a shared turn.
    alone: Option<u64>,
}

impl Turns {
    /// Whether no partition wants to run an event alone.
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().alone.is_empty()
    }

    /// A shared turn; `None` while a partition wants to run an event alone.
    pub(crate) fn share(self: &Arc<Self>) -> Option<Turn> {
        let mut state = self.state.lock();
        if !state.alone.is_empty() {
            return None;
        }
        state.shared += 1;
        Some(Turn { turns: Arc::clone(self), alone: None })
    }

    /// A place in the queue for a turn alone.
    pub(crate) fn queue(self: &Arc<Self>) -> Turn {
        let mut state = self.state.lock();
        let place = state.next;
        state.next += 1;
        state.alone.push_back(place);
        Turn { turns: Arc::clone(self), alone: Some(place) }
    }

    /// Completes when a turn is given back after this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }
}

impl Turn {
    /// Whether events may be started. A shared turn allows it while no partition wants to run an event alone. A
    /// turn alone allows it when it is the first in the queue and no shared turn is in use.
    pub(crate) fn has_come(&self) -> bool {
        let state = self.turns.state.lock();
        match self.alone {
            None => state.alone.is_empty(),
            Some(_) => state.shared == 0 && state.alone.front() == self.alone.as_ref(),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.state.lock();
        match self.alone {
            None => state.shared -= 1,
            Some(own) => state.alone.retain(|place| *place != own),
        }
        // Partitions wait only while one of them wants to run an event alone, so other drops need no notification.
        let matters = self.alone.is_some() || !state.alone.is_empty();
        drop(state);
        if matters {
            self.turns.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use crate::engine::partition::turns::*;

    #[tokio::test]
    async fn turns_are_shared_until_a_partition_asks_for_a_turn_alone() {
        let turns = Arc::new(Turns::default());
        let (first, second) = (turns.share().expect("a turn"), turns.share().expect("a turn"));
        let alone = turns.queue();
        let after = turns.queue();
        assert!(!turns.is_open() && turns.share().is_none());
        assert!(!first.has_come() && !alone.has_come() && !after.has_come());
        drop(first);
        assert!(!alone.has_come(), "the other shared turn is still in use");
        let mut changed = std::pin::pin!(turns.changed());
        drop(second);
        assert!(alone.has_come() && !after.has_come());
        let is_told = poll_fn(|context| Poll::Ready(changed.as_mut().poll(context).is_ready())).await;
        assert!(is_told);
        drop(alone);
        assert!(after.has_come());
        drop(after);
        assert!(turns.is_open() && turns.share().is_some_and(|turn| turn.has_come()));
    }
}
