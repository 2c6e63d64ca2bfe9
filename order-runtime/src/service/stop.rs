//! Requests to stop the service: SIGTERM, SIGINT, SIGHUP, or the end of the supervisor that started it.

use std::{io, time::Duration};

use tokio::{
    io::AsyncReadExt,
    signal::unix::{Signal, SignalKind, signal},
};

/// How long an abort waits for the log to be written.
const LOG: Duration = Duration::from_millis(500);

/// Listens for requests to stop, from its creation on.
#[derive(Debug)]
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    /// The end of the terminal; `None` if the process was started to outlive it, as with `nohup`.
    hangup: Option<Signal>,
    /// Whether standard input is a pipe from the supervisor, whose end is a request too.
    supervised: bool,
}

impl Stop {
    /// Begins to listen. From now on, these signals do not end the process directly.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
            supervised: std::env::var_os(crate::service::supervised::SUPERVISED).is_some(),
        })
    }

    /// Waits for a request to stop, and returns its source.
    pub(crate) async fn asked(&mut self) -> &'static str {
        let supervised = self.supervised;
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = hung_up(&mut self.hangup) => "SIGHUP",
            () = end_of_input(), if supervised => "the supervisor has ended",
        }
    }

    /// Ends the process at the next SIGTERM or SIGINT, but not at a SIGHUP, which the end of a terminal may send twice.
    pub(crate) async fn abort_on_next(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::error!("aborted; unfinished events are handled again after the next start");
        crate::telemetry::logs::flush(LOG);
        std::process::exit(1);
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored; listening would undo that.
#[cfg(target_os = "linux")]
fn ignores_hangup() -> bool {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    // Bit 0 is signal 1, SIGHUP.
    status.is_ok_and(|status| status.sigign & 1 == 1)
}

#[cfg(not(target_os = "linux"))]
fn ignores_hangup() -> bool {
    false
}

async fn end_of_input() {
    let mut input = tokio::io::stdin();
    let mut nothing = [0; 64];
    // The supervisor writes nothing, so a read returns at the end or with an error, which counts as the end.
    while input.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}
