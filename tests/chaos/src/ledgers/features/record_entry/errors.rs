use order_runtime::prelude::*;

/// Why an entry was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Failure)]
pub enum RecordEntryError {
    /// The script lets this attempt fail.
    #[error("attempt {attempt} of {times} that fail")]
    #[failure(retry)]
    Scripted {
        /// This attempt, from 1.
        attempt: u32,
        /// The last attempt that fails.
        times: u32,
    },
    /// The script refuses the event.
    #[error("refused by its script")]
    #[failure(dead_letter)]
    Refused,
}
