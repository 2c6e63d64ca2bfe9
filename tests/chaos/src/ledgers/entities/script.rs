//! The scripted behaviour of an event's processor.

use schemars::JsonSchema;
use serde::Deserialize;

/// The action of the processor before it applies the entry, or instead of that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Script {
    /// Applies the entry at once.
    #[default]
    Apply,
    /// Fails the first attempts, by number.
    Fail(u32),
    /// Waits for a number of milliseconds.
    Wait(u64),
    /// Blocks the thread for a number of milliseconds.
    Block(u64),
    /// Refuses the event permanently.
    Refuse,
    /// Never returns.
    Hang,
    /// Panics.
    Panic,
    /// Ends the process, like a stack overflow or the out-of-memory killer.
    Abort,
    /// Ends the process after a number of milliseconds, when the store has recorded the event as running.
    AbortAfter(u64),
    /// Applies an entry that no store accepts.
    Unstorable,
}
