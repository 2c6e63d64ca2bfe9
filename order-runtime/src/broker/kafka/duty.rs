//! Decides whether the poll thread or a task of the runtime takes arrived records.
//!
//! After the poll thread has taken a record, it must wake a worker of the runtime, which then runs the partition owner. The task
//! runs on such a worker at once, so that a single record is handled one wake earlier. But the task competes with busy partition
//! owners, so the poll thread is on duty while many records arrive. Records that the task has not taken, for whatever reason, are
//! taken by the poll thread in its next round.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{
    bell::{Bell, Listener},
    poller::Polled,
};

/// Records whether the poll thread or the task is on duty, and wakes it.
pub(super) struct Duty {
    on_task: AtomicBool,
    task: Bell,
    thread: Thread,
}

impl Duty {
    /// Wakes the poll thread or the task because records are ready. Never blocks.
    pub(super) fn call(&self) {
        if self.on_task.load(Ordering::Acquire) {
            self.task.ring();
        } else {
            self.thread.unpark();
        }
    }

    /// Puts the task on duty if `task`, otherwise the poll thread. The caller must check for records afterwards, since the other
    /// one may have been woken before.
    pub(super) fn put_on(&self, task: bool) {
        self.on_task.store(task, Ordering::Release);
    }
}

/// The state of polling, which the poll thread and the task use in turn. It is dropped with this.
pub(super) struct Desk {
    /// `None` after the end, or if the task has panicked while it used the state.
    polled: Arc<Mutex<Option<Box<Polled>>>>,
    duty: Arc<Duty>,
}

impl Desk {
    /// Starts the task. The calling thread is the poll thread, which is on duty at first.
    ///
    /// # Errors
    /// When the system has no file descriptor left.
    pub(super) fn open(runtime: &Handle, polled: impl FnOnce(Arc<Duty>) -> Polled) -> io::Result<Self> {
        let (task, listener) = {
            let _within = runtime.enter();
            Bell::hang()?
        };
        let duty = Arc::new(Duty { on_task: AtomicBool::new(false), task, thread: thread::current() });
        let polled = Arc::new(Mutex::new(Some(Box::new(polled(Arc::clone(&duty))))));
        runtime.spawn(take_few(listener, Arc::clone(&polled), Arc::clone(&duty)));
        Ok(Self { polled, duty })
    }

    /// Runs `act` on the state for the poll thread; `None` if the task has panicked.
    pub(super) fn at<T>(&self, act: impl FnOnce(&mut Polled) -> T) -> Option<T> {
        self.polled.lock().as_mut().map(|polled| act(polled))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // The poll thread drops the state and not the task, because dropping a client may take long.
        drop(self.polled.lock().take());
        self.duty.task.ring();
    }
}

/// The task. It ends when the [`Desk`] is dropped, or with its runtime.
async fn take_few(listener: Listener, polled: Arc<Mutex<Option<Box<Polled>>>>, duty: Arc<Duty>) {
    while let Ok(()) = listener.heard().await {
        duty.task.answer();
        let done = match polled.try_lock() {
            Some(mut desk) => {
                let Some(mut polled) = desk.take() else { return };
                let done = polled.take_few();
                *desk = Some(polled);
                done
            }
            None => false,
        };
        if !done {
            // The poll thread uses the state, or there are more records than the task takes.
            duty.put_on(false);
            duty.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_side_on_duty_is_woken() {
        let (task, listener) = Bell::hang().unwrap();
        let duty = Duty { on_task: AtomicBool::new(false), task, thread: thread::current() };
        duty.call();
        // The thread was woken before, so this does not block.
        thread::park();
        assert!(listener.heard().now_or_never().is_none(), "the thread is on duty");
        duty.put_on(true);
        duty.call();
        listener.heard().await.unwrap();
    }
}
