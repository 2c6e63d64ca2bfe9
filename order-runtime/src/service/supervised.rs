//! Environment variables that the supervisor sets for the service that it starts.

/// Marks a process as the supervisor's child.
pub(crate) const SUPERVISED: &str = "ORDER_RUNTIME_SUPERVISED";
/// The value of [`SUPERVISED`] for a child that replaces an earlier one.
pub(crate) const AGAIN: &str = "again";
/// Set if the supervisor holds the embedded broker.
pub(crate) const EMBEDDED: &str = "ORDER_RUNTIME_EMBEDDED_BROKER";

/// Whether this child replaces an earlier one, so that the addresses need not be printed again.
pub(crate) fn is_restarted() -> bool {
    std::env::var_os(SUPERVISED).is_some_and(|value| value == AGAIN)
}
