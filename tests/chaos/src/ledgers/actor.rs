//! Executes the script of an event.

use std::time::Duration;

use order_runtime::prelude::Injectable;

use super::{entities::script::Script, features::record_entry::errors::RecordEntryError, witness::Witness};

/// Executes scripts.
#[derive(Injectable)]
pub struct Actor {
    witness: Witness,
}

impl Actor {
    /// Executes the script for this attempt at the event.
    ///
    /// # Panics
    /// If the script is [`Script::Panic`].
    pub async fn play(&self, script: Script, event: &str, attempt: u32) -> Result<(), RecordEntryError> {
        match script {
            Script::Apply | Script::Unstorable => {}
            Script::Fail(times) if attempt > times => {}
            Script::Fail(times) => {
                self.witness.failed(event, attempt);
                return Err(RecordEntryError::Scripted { attempt, times });
            }
            Script::Wait(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
            Script::Block(milliseconds) => std::thread::sleep(Duration::from_millis(milliseconds)),
            Script::Refuse => return Err(RecordEntryError::Refused),
            Script::Hang => std::future::pending().await,
            Script::Panic => panic!("as the script says"),
            Script::Abort => self.end_process(event, attempt),
            Script::AbortAfter(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                self.end_process(event, attempt);
            }
        }
        Ok(())
    }

    /// Records the event and the attempt, and ends the process.
    fn end_process(&self, event: &str, attempt: u32) -> ! {
        self.witness.failed(event, attempt);
        std::process::abort();
    }
}
