//! What asks the service to stop: SIGTERM, SIGINT, or the end of the supervisor that started it.

use std::io;

use tokio::{
    io::AsyncReadExt,
    signal::unix::{Signal, SignalKind, signal},
};

/// Listens for requests to stop, from its creation on.
#[derive(Debug)]
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    /// Standard input is a pipe from the supervisor; its end is a request too.
    supervised: bool,
}

impl Stop {
    /// Begins to listen; from now on neither signal ends the process by itself.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            supervised: std::env::var_os(crate::reload::SUPERVISED).is_some(),
        })
    }

    /// Returns when somebody asks; answers who.
    pub(crate) async fn asked(&mut self) -> &'static str {
        let supervised = self.supervised;
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = end_of_input(), if supervised => "the supervisor has ended",
        }
    }

    /// Ends the process at the next request.
    pub(crate) async fn abort_on_next(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::error!("aborted; whatever was under way is handled again at the next start");
        std::process::exit(1);
    }
}

async fn end_of_input() {
    let mut input = tokio::io::stdin();
    let mut nothing = [0; 64];
    // The supervisor writes nothing; what is read is the end, or an error that means the same.
    while input.read(&mut nothing).await.is_ok_and(|read| read > 0) {}
}
