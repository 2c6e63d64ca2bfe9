//! A child process whose output is recorded, and which never outlives its test.

use std::{
    io::{BufRead, BufReader, PipeReader, Read, pipe},
    iter,
    net::TcpListener,
    ops::Range,
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// The number of lines of a process that are printed when its test fails.
const LAST_LINES: usize = 200;

pub(crate) struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    /// The read end of the output pipe, if the test does not read it.
    _unread: Option<PipeReader>,
}

impl Process {
    pub(crate) fn spawn(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let log = Arc::default();
        let readers = vec![keep(child.stdout.take(), &log), keep(child.stderr.take(), &log)];
        Self { name, child, log, readers, _unread: None }
    }

    /// Starts a process with one pipe for both streams, which is not read.
    pub(crate) fn spawn_unread(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        let (reader, writer) = pipe().expect("a pipe");
        command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a second handle")).stderr(writer);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, child, log: Arc::default(), readers: Vec::new(), _unread: Some(reader) }
    }

    /// The output so far, with the lines of both streams in order of arrival.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// The exit status; `None` while the process runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("waiting for a child process works")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id is a positive number");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }

    /// Waits for the end of the process, after which its log is complete.
    pub(crate) async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let status = until(&what, deadline, async || self.ended().ok_or_else(|| "it still runs".to_owned())).await;
        self.finish_log();
        status
    }

    /// Sends SIGKILL and waits for the end of the process: only then are its locks and ports free.
    pub(crate) fn kill(&mut self) {
        // This fails only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.finish_log();
    }

    /// Reads the rest of the output. The pipes close when the process ends.
    fn finish_log(&mut self) {
        for reader in self.readers.drain(..) {
            // A panic of the reader has already been printed.
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("--- {}: its last {} of {} lines\n{}\n---", self.name, last.len(), lines.len(), last.join("\n"));
        }
    }
}

/// Reads a stream to its end on a separate thread, because a full pipe would block the process.
fn keep(stream: Option<impl Read + Send + 'static>, log: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let stream = stream.expect("the stream is piped");
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    })
}

/// Whether a program is installed and exits with success.
pub(crate) fn runs(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The ports of [`free_port`]. They are below the range for outgoing connections (from 32768 on Linux, from 49152 elsewhere), so
/// that no such connection takes the port before the process starts or while it restarts. They are above the ports that
/// `tests/kafka/kafka` and `tests/postgres/postgres` use.
const PORTS: Range<u16> = 30_000..32_700;

/// A port of 127.0.0.1 without a listener. A port is returned again only after all others.
pub fn free_port() -> u16 {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    // Test programs may run in parallel, so each starts at a different port.
    let start = process::id() as usize * 97;
    let next = || PORTS.clone().nth((start + CALLS.fetch_add(1, Ordering::Relaxed)) % PORTS.len());
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    iter::repeat_with(next).take(PORTS.len()).flatten().find(free).expect("a free port")
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt as _, process::Command};

    use rustix::process::Signal;

    use super::Process;
    use crate::wait::{PATIENCE, eventually};

    #[tokio::test]
    async fn both_streams_are_kept_and_a_signal_ends_it() {
        let script = "trap 'echo last words; exit 3' TERM; echo out; echo err >&2; while :; do sleep 0.02; done";
        let mut process = Process::spawn("sh", Command::new("sh").args(["-c", script]));
        eventually("both lines are written", PATIENCE, async || process.log().lines().count() == 2).await;
        process.signal(Signal::TERM);
        let status = process.wait(PATIENCE).await;
        assert_eq!((status.code(), status.signal()), (Some(3), None));
        assert!(process.log().ends_with("last words"), "{}", process.log());
    }

    #[test]
    fn a_process_does_not_outlive_its_owner() {
        let process = Process::spawn("sleep", Command::new("sleep").arg("60"));
        let id = process.child.id();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}
