//! Calls a task from a thread that does not belong to its runtime.
//!
//! It does so by a file. A task that another thread wakes lets the runtime wake a further worker that looks for work, while
//! one that waits for a file is run by the very worker that learns of it.

use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::io::{Interest, unix::AsyncFd};

/// What is rung. It rings once until it is [answered](Bell::answer), however often it is called.
pub(super) struct Bell {
    file: OwnedFd,
    rung: AtomicBool,
}

/// Who hears it.
pub(super) struct Listener(AsyncFd<OwnedFd>);

impl Bell {
    /// To be called within the runtime whose task listens.
    ///
    /// # Errors
    /// When the system has no file left.
    pub(super) fn hang() -> io::Result<(Self, Listener)> {
        let (file, heard) = ends()?;
        #[expect(
            deprecated,
            reason = "what took its place is unsafe, for files that belong to others; this one is owned"
        )]
        let listener = AsyncFd::with_interest(heard, Interest::READABLE)?;
        Ok((Self { file, rung: AtomicBool::new(false) }, Listener(listener)))
    }

    /// Never blocks.
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It has room for the few bytes, and its other end is closed only when nobody listens any more.
            let _ = rustix::io::write(&self.file, &1_u64.to_ne_bytes());
        }
    }

    /// From now on it rings again. Whoever is called does this before looking what there is, so that nothing that comes later
    /// goes unheard.
    pub(super) fn answer(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl Listener {
    /// Waits until the bell has rung.
    ///
    /// # Errors
    /// The runtime ends.
    pub(super) async fn heard(&self) -> io::Result<()> {
        self.0.readable().await?.clear_ready();
        #[cfg(not(target_os = "linux"))]
        self.empty();
        Ok(())
    }

    /// A pipe that is not read is full one day.
    #[cfg(not(target_os = "linux"))]
    fn empty(&self) {
        while matches!(rustix::io::read(self.0.get_ref(), &mut [0; 64]), Ok(1..)) {}
    }
}

/// The end that is rung, and the one that is listened at: of a counter, which each write makes ready anew without anybody
/// having to read it.
#[cfg(target_os = "linux")]
fn ends() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::event::{EventfdFlags, eventfd};

    let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    Ok((counter.try_clone()?, counter))
}

/// The same of a pipe.
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
        assert!(listener.heard().now_or_never().is_none(), "nobody has called");
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
    async fn a_call_before_anybody_listens_is_heard() {
        let (bell, listener) = Bell::hang().unwrap();
        bell.ring();
        listener.heard().await.unwrap();
    }
}
