//! How an event's processor behaves.

use schemars::JsonSchema;
use serde::Deserialize;

/// What the processor does before it applies the entry, or instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Script {
    /// It applies the entry at once.
    #[default]
    Apply,
    /// The first so many attempts fail.
    Fail(u32),
    /// It waits for so many milliseconds.
    Wait(u64),
    /// It blocks the thread for so many milliseconds.
    Block(u64),
    /// It refuses the event for good.
    Refuse,
    /// It never returns.
    Hang,
    /// It panics.
    Panic,
    /// It ends the process, as a stack overflow or the out-of-memory killer would.
    Abort,
    /// The same after so many milliseconds, by when the store knows the event as running.
    AbortAfter(u64),
    /// It applies an entry that no store accepts.
    Unstorable,
}
