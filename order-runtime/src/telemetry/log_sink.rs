//! Writes log lines on a thread of its own, so that no other thread ever waits for the reader of the log.
//!
//! The queue of unwritten lines is bounded in bytes. While the reader does not read, further lines are dropped and counted. When
//! it reads again, one line gives the number of dropped lines.

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

/// The capacity of the queue in bytes: some 20,000 lines.
const CAPACITY: usize = 4 * 1024 * 1024;
/// The bytes after which a write takes no further line.
const CHUNK: usize = 64 * 1024;
/// A write that takes longer than this counts as stalled: the reader does not read.
const STALLED: Duration = Duration::from_secs(1);
/// The delay before the next write to a full stream in non-blocking mode.
const RETRY: Duration = Duration::from_millis(10);

/// Accepts lines without blocking.
#[derive(Clone)]
pub(super) struct LogSink(Arc<SinkShared>);

struct SinkShared {
    queue: Mutex<Queue>,
    /// Notified when lines are queued and when lines were written.
    changed: Condvar,
    dropped: AtomicU64,
    capacity: usize,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// The bytes of all unwritten lines, including those that are being written.
    bytes: usize,
    /// The start of the current write.
    writing_since: Option<Instant>,
}

impl LogSink {
    /// Starts the thread that writes to `output`. `report` is called there with the number of dropped lines when lines
    /// flow again.
    ///
    /// # Errors
    /// If the system refuses a thread.
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

    /// Queues a line; drops and counts it if the queue is full.
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

    /// Waits until all lines are written, but no longer than `within`, and not while the reader does not read. Returns whether
    /// all lines are written.
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

    /// How long the current write has been stalled; `None` if it is not.
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

    /// Waits for lines; returns some of them in one piece, and their number.
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

/// Writes all bytes, also if another process has put the stream into non-blocking mode.
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
    fn a_stalled_reader_blocks_no_writer_and_gets_the_number_of_dropped_lines() {
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
            assert!(begun.elapsed() < PATIENCE, "the stall is detected");
            sink.write(&line);
            written += 1;
            thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..200 {
            sink.write(&line);
            written += 1;
        }
        assert!(sink.dropped() >= 100, "{}", sink.dropped());
        assert!(!sink.flush(PATIENCE), "flush does not wait for a stalled reader");
        assert!(begun.elapsed() < PATIENCE);

        let taken = written - sink.dropped();
        let mut read = vec![0; usize::try_from(taken).expect("a small number") * line.len()];
        reader.read_exact(&mut read).expect("every line that was not dropped");
        assert_eq!(reported.recv_timeout(PATIENCE), Ok(sink.dropped()));
        sink.write(b"again\n");
        assert!(sink.flush(PATIENCE) && sink.stalled().is_none());
    }

    #[test]
    fn a_closed_reader_stops_nothing() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let sink = LogSink::start(writer, |_| panic!("no reader is left")).expect("a thread");
        sink.write(b"1\n");
        assert!(sink.flush(PATIENCE));
        assert_eq!(sink.dropped(), 1);
    }
}
