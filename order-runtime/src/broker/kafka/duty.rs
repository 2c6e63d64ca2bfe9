//! Who takes the records that have come: the thread that polls, or a task of the runtime.
//!
//! The thread would have to wake a worker for a record that it has taken, which then runs its owner. A task is run by such a worker
//! at once, so a record that comes alone is handled one wake earlier. But a task waits for its turn among owners that are at work,
//! so the thread is on duty while much comes. What the task has not taken by then, for whatever reason, the thread takes in
//! its next round.

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

/// Says who is on duty, and calls them.
pub(super) struct Duty {
    on_task: AtomicBool,
    task: Bell,
    thread: Thread,
}

impl Duty {
    /// Something is there to be taken. Never blocks.
    pub(super) fn call(&self) {
        if self.on_task.load(Ordering::Acquire) {
            self.task.ring();
        } else {
            self.thread.unpark();
        }
    }

    /// Puts the task on duty, or the thread. Whoever does this looks once more afterwards, since the other may have been called
    /// before.
    pub(super) fn put_on(&self, task: bool) {
        self.on_task.store(task, Ordering::Release);
    }
}

/// The state of polling, which the thread and the task have in turn, and which ends with this.
pub(super) struct Desk {
    /// None once it has ended, and where the task has panicked in the middle of it.
    polled: Arc<Mutex<Option<Box<Polled>>>>,
    duty: Arc<Duty>,
}

impl Desk {
    /// Starts the task. The thread is the one that asks, and is on duty at first.
    ///
    /// # Errors
    /// When the system has no file left.
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

    /// The thread's turn; `None` where the task has panicked in its own.
    pub(super) fn at<T>(&self, act: impl FnOnce(&mut Polled) -> T) -> Option<T> {
        self.polled.lock().as_mut().map(|polled| act(polled))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Here and not where the task ends: the end of a client may take long, and the thread has the last of it.
        drop(self.polled.lock().take());
        self.duty.task.ring();
    }
}

/// The task. It ends with the desk, or with its runtime.
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
            // The thread is at it, or there is more than this is for.
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
    async fn whoever_is_on_duty_is_called() {
        let (task, listener) = Bell::hang().unwrap();
        let duty = Duty { on_task: AtomicBool::new(false), task, thread: thread::current() };
        duty.call();
        // What was told before is not waited for.
        thread::park();
        assert!(listener.heard().now_or_never().is_none(), "the thread is on duty");
        duty.put_on(true);
        duty.call();
        listener.heard().await.unwrap();
    }
}
