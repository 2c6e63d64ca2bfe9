//! Wakes a task from a thread outside of its runtime.
//!
//! It uses a file descriptor. When another thread wakes a task directly, the runtime also wakes a further worker to look for
//! work. A task that waits for a file descriptor runs on the worker that learns of the event.

use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::io::{Interest, unix::AsyncFd};

/// The sending side. It rings once until it is [answered](Bell::answer), however often it is called.
pub(super) struct Bell {
    file: OwnedFd,
    rung: AtomicBool,
}

/// The receiving side.
pub(super) struct Listener(AsyncFd<OwnedFd>);

impl Bell {
    /// Creates both sides. Must be called within the runtime whose task listens.
    ///
    /// # Errors
    /// When the system has no file descriptor left.
    pub(super) fn hang() -> io::Result<(Self, Listener)> {
        let (file, heard) = ends()?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe, as it accepts borrowed file descriptors; this one is owned"
        )]
        let listener = AsyncFd::with_interest(heard, Interest::READABLE)?;
        Ok((Self { file, rung: AtomicBool::new(false) }, Listener(listener)))
    }

    /// Wakes the listener. Never blocks.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // The few bytes always fit, and the other end is closed only when there is no listener any more.
            let _ = rustix::io::write(&self.file, &1_u64.to_ne_bytes());
        }
    }

    /// Lets the bell ring again. The listener calls this before it looks for work, so that no later work is missed.
    pub(super) fn answer(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Listener {
    /// Waits until the bell has rung.
    ///
    /// # Errors
    /// When the runtime ends.
    pub(super) async fn heard(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        #[cfg(not(target_os = "linux"))]
        self.empty();
        Ok(())
    }

    /// Empties the pipe, which would otherwise fill up.
    #[cfg(not(target_os = "linux"))]
    fn empty(&self) {
        while matches!(rustix::io::read(self.0.get_ref(), &mut [0; 64]), Ok(1..)) {}
    }
}

/// The sending and the receiving end of an eventfd counter, which each write makes ready again without a read.
#[cfg(target_os = "linux")]
fn ends() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::event::{EventfdFlags, eventfd};

    let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    Ok((counter.try_clone()?, counter))
}

/// The sending and the receiving end of a pipe.
#[cfg(not(target_os = "linux"))]
fn ends() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    Ok((writer.into(), reader.into()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn it_rings_once_until_it_is_answered_and_each_ring_is_heard() {
        let (bell, listener) = Bell::hang().unwrap();
        assert!(listener.heard().now_or_never().is_none(), "it has not rung");
        for _ in 0..3 {
            bell.ring();
            bell.ring();
            listener.heard().await.unwrap();
            bell.answer();
        }
        #[cfg(target_os = "linux")]
        {
            let mut rings = [0; 8];
            rustix::io::read(listener.0.get_ref(), &mut rings).unwrap();
            assert_eq!(u64::from_ne_bytes(rings), 3, "two calls are one ring");
        }
    }

    #[tokio::test]
    async fn a_ring_before_the_listener_waits_is_heard() {
        let (bell, listener) = Bell::hang().unwrap();
        bell.ring();
        listener.heard().await.unwrap();
    }
}
