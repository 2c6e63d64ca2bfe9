//! A child process whose output is kept, and which never outlives its test.

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

/// How many lines of a process are printed when its test fails.
const LAST_LINES: usize = 200;

pub(crate) struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    /// The end of its output that nobody reads.
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

    /// The same with one pipe for both streams, which nobody reads.
    pub(crate) fn spawn_unread(name: impl Into<String>, command: &mut Command) -> Self {
        let name = name.into();
        let (reader, writer) = pipe().expect("a pipe");
        command.stdin(Stdio::null()).stdout(writer.try_clone().expect("a second handle")).stderr(writer);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name, child, log: Arc::default(), readers: Vec::new(), _unread: Some(reader) }
    }

    /// What it has written so far, both streams as they came.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id is a positive number");
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{} cannot be signalled: {error}", self.name));
    }

    /// Waits for its end; its log is whole then.
    pub(crate) async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let status = until(&what, deadline, async || self.ended().ok_or_else(|| "it still runs".to_owned())).await;
        self.finish_log();
        status
    }

    /// SIGKILL, and waits until the system has buried it: only then are its locks and ports free.
    pub(crate) fn kill(&mut self) {
        // It fails only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.finish_log();
    }

    /// The pipes end with the process, and what is still in them belongs to the log.
    fn finish_log(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader that has panicked has said so itself.
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

/// Reads a stream to its end on a thread of its own: a full pipe would stop the process.
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

/// Whether a program is there and ends well.
pub(crate) fn runs(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The ports that [`free_port`] hands out: below those that systems give to outgoing connections (from 32768 on Linux,
/// from 49152 elsewhere), one of which would else take the port before, or between two lives of, the process that it
/// is for; and above those that `tests/kafka/kafka` and `tests/postgres/postgres` pick.
const PORTS: Range<u16> = 30_000..32_700;

/// A port of 127.0.0.1 that nothing listens at, and that this program is not given again before all others were.
pub fn free_port() -> u16 {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    // Test programs may run side by side, so each begins at a place of its own.
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
        eventually("it has spoken", PATIENCE, async || process.log().lines().count() == 2).await;
        process.signal(Signal::TERM);
        let status = process.wait(PATIENCE).await;
        assert_eq!((status.code(), status.signal()), (Some(3), None));
        assert!(process.log().ends_with("last words"), "{}", process.log());
    }

    #[test]
    fn it_does_not_outlive_its_owner() {
        let process = Process::spawn("sleep", Command::new("sleep").arg("60"));
        let id = process.child.id();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }
}
