//! Who takes the records that have come: the thread that polls, or a task of the runtime.
//!
//! The thread would have to wake a worker for a record that it has taken, which then runs its owner. A task is run by such a worker
//! at once, so a record that comes alone is handled one wake earlier. But a task waits for its turn among owners that are at work,
//! so the thread is on duty while much comes. What the task has not taken by then, for whatever reason, the thread takes in
//! its next round.

use std::{
    io::{self, PipeWriter, Write as _},
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
};

use parking_lot::Mutex;
use tokio::{net::unix::pipe, runtime::Handle};

use super::poller::Polled;

/// Says who is on duty, and calls them.
pub(super) struct Duty {
    on_task: AtomicBool,
    task: Bell,
    thread: Thread,
}

/// Calls the task by a pipe: whoever waits for a file is run where the runtime learns of it, while a task that another thread
/// wakes lets a further worker look for work.
struct Bell {
    pipe: PipeWriter,
    /// A byte is in the pipe, or about to be.
    rung: AtomicBool,
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It has room for the one byte, and its other end is closed only when nobody is called any more.
            let _ = (&self.pipe).write(&[0]);
        }
    }
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
    /// When the system has no pipe left.
    pub(super) fn open(runtime: &Handle, polled: impl FnOnce(Arc<Duty>) -> Polled) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let bell = {
            let _within = runtime.enter();
            pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?
        };
        let task = Bell { pipe: writer, rung: AtomicBool::new(false) };
        let duty = Arc::new(Duty { on_task: AtomicBool::new(false), task, thread: thread::current() });
        let polled = Arc::new(Mutex::new(Some(Box::new(polled(Arc::clone(&duty))))));
        runtime.spawn(take_few(bell, Arc::clone(&polled), Arc::clone(&duty)));
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
async fn take_few(bell: pipe::Receiver, polled: Arc<Mutex<Option<Box<Polled>>>>, duty: Arc<Duty>) {
    while let Ok(()) = bell.readable().await {
        // Nothing to read is nothing to fear: it looks in vain then.
        let _ = bell.try_read(&mut [0; 2]);
        // Before it looks, so that whatever comes later rings again.
        duty.task.rung.store(false, Ordering::Release);
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
    use std::io::Read as _;

    use super::*;

    #[test]
    fn whoever_is_on_duty_is_called_and_a_task_by_one_byte_only() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let task = Bell { pipe, rung: AtomicBool::new(false) };
        let duty = Duty { on_task: AtomicBool::new(false), task, thread: thread::current() };
        duty.call();
        // What was told before is not waited for.
        thread::park();
        duty.put_on(true);
        duty.call();
        duty.call();
        duty.task.rung.store(false, Ordering::Release);
        duty.call();
        drop(duty);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read.len(), 2, "one for both of the calls that were not heard in between");
    }
}
