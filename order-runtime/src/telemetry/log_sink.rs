//! Carries log lines to their reader on a thread of its own, so that no other thread ever waits for the reader.
//!
//! Lines that are not written yet are bounded in bytes. When the reader of the log stops reading, further lines are dropped and
//! counted; when it reads again, one line says how many are missing.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

/// How many bytes of lines wait for the reader: some 20,000 lines.
const CAPACITY: usize = 4 * 1024 * 1024;
/// How much is written at once.
const CHUNK: usize = 64 * 1024;
/// A write that takes longer than this means that the reader does not read.
const STALLED: Duration = Duration::from_secs(1);
/// How long to wait where the stream is in non-blocking mode and has no room.
const RETRY: Duration = Duration::from_millis(10);

/// Takes lines without blocking.
#[derive(Clone)]
pub(super) struct LogSink(Arc<SinkShared>);

struct SinkShared {
    queue: Mutex<Queue>,
    /// Notified when lines come and when lines were written.
    changed: Condvar,
    dropped: AtomicU64,
    capacity: usize,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Of all lines that are not written yet, those that are being written included.
    bytes: usize,
    /// Since when a write has been under way.
    writing_since: Option<Instant>,
}

impl LogSink {
    /// Starts the thread that writes to `output`. `report` is called there with the number of dropped lines once lines flow again.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        Self::with_capacity(CAPACITY, output, report)
    }

    fn with_capacity(
        capacity: usize,
        output: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(SinkShared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
            capacity,
        });
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write_on(output, report))?;
        Ok(Self(shared))
    }

    /// Takes a line; drops and counts it where there is no room.
    pub(super) fn write(&self, line: &[u8]) {
        let mut queue = self.0.queue.lock();
        if queue.bytes + line.len() > self.0.capacity {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        self.0.changed.notify_all();
    }

    /// Waits until all lines are written, but no longer than `within`, and not at all while the reader does not read.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut queue = self.0.queue.lock();
        while queue.bytes > 0 {
            let stalled = queue.writing_since.is_some_and(|since| since.elapsed() > STALLED);
            if stalled || self.0.changed.wait_until(&mut queue, deadline).timed_out() {
                return queue.bytes == 0;
            }
        }
        true
    }

    /// How many lines were dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// For how long the reader has not read what is being written.
    pub(super) fn stalled(&self) -> Option<Duration> {
        let since = self.0.queue.lock().writing_since;
        since.map(|since| since.elapsed()).filter(|stalled| *stalled > STALLED)
    }
}

impl SinkShared {
    fn write_on(&self, mut output: impl Write, report: impl Fn(u64)) {
        let mut reported = 0;
        loop {
            let (chunk, lines) = self.next();
            let written = write_whole(&mut output, &chunk);
            if written.is_err() {
                self.dropped.fetch_add(lines, Ordering::Relaxed);
            }
            let mut queue = self.queue.lock();
            queue.bytes -= chunk.len();
            queue.writing_since = None;
            self.changed.notify_all();
            drop(queue);
            let dropped = self.dropped.load(Ordering::Relaxed);
            if written.is_ok() && dropped > reported {
                report(dropped - reported);
                reported = dropped;
            }
        }
    }

    /// Waits for lines; answers some of them in one piece, and how many they are.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut queue = self.queue.lock();
        while queue.lines.is_empty() {
            self.changed.wait(&mut queue);
        }
        queue.writing_since = Some(Instant::now());
        let (mut chunk, mut lines) = (Vec::new(), 0);
        while chunk.len() < CHUNK
            && let Some(line) = queue.lines.pop_front()
        {
            chunk.extend_from_slice(&line);
            lines += 1;
        }
        (chunk, lines)
    }
}

/// Writes all of it, also where another process has put the stream into non-blocking mode.
fn write_whole(output: &mut impl Write, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, sync::mpsc};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn lines_are_written_in_order() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let sink = LogSink::start(writer, |_| panic!("nothing is dropped")).expect("a thread");
        for number in 0..1_000 {
            sink.write(format!("{number}\n").as_bytes());
        }
        assert!(sink.flush(PATIENCE));
        let wanted: String = (0..1_000).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
        let mut read = vec![0; wanted.len()];
        reader.read_exact(&mut read).expect("all lines");
        assert_eq!(String::from_utf8(read).expect("text"), wanted);
        assert_eq!((sink.dropped(), sink.stalled()), (0, None));
    }

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up_and_is_told_what_it_missed() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (report, reported) = mpsc::channel();
        let sink = LogSink::with_capacity(10_000, writer, move |lines| {
            let _ = report.send(lines);
        })
        .expect("a thread");
        // A pipe holds 64 KiB, the queue 10,000 bytes more.
        let line = [b'x'; 100];
        let (begun, mut written) = (Instant::now(), 0);
        while sink.stalled().is_none() {
            assert!(begun.elapsed() < PATIENCE, "that the reader does not read can be seen");
            sink.write(&line);
            written += 1;
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..200 {
            sink.write(&line);
            written += 1;
        }
        assert!(sink.dropped() >= 100, "{}", sink.dropped());
        assert!(!sink.flush(PATIENCE), "nobody waits for a reader that does not read");
        assert!(begun.elapsed() < PATIENCE);

        let taken = written - sink.dropped();
        let mut read = vec![0; usize::try_from(taken).expect("a small number") * line.len()];
        reader.read_exact(&mut read).expect("every line that was not dropped");
        assert_eq!(reported.recv_timeout(PATIENCE), Ok(sink.dropped()));
        sink.write(b"again\n");
        assert!(sink.flush(PATIENCE) && sink.stalled().is_none());
    }

    #[test]
    fn a_reader_that_has_gone_ends_nothing() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let sink = LogSink::start(writer, |_| panic!("nobody reads that")).expect("a thread");
        sink.write(b"1\n");
        assert!(sink.flush(PATIENCE));
        assert_eq!(sink.dropped(), 1);
    }
}
