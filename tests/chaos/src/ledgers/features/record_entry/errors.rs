use order_runtime::prelude::*;

/// Why an entry was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Failure)]
pub enum RecordEntryError {
    /// The script has this attempt fail.
    #[error("attempt {attempt} of {times} that fail")]
    #[failure(retry)]
    Scripted {
        /// This one, from 1.
        attempt: u32,
        /// The last one that fails.
        times: u32,
    },
    /// The script has the event refused.
    #[error("refused by its script")]
    #[failure(dead_letter)]
    Refused,
}
