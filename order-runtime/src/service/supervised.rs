//! What a service knows of the supervisor that has started it, by variables of its environment.

/// Tells a process that it is the supervisor's child.
pub(crate) const SUPERVISED: &str = "ORDER_RUNTIME_SUPERVISED";
/// The value of [`SUPERVISED`] for a child that another one has run before.
pub(crate) const AGAIN: &str = "again";
/// Tells the child that the supervisor holds the embedded broker.
pub(crate) const EMBEDDED: &str = "ORDER_RUNTIME_EMBEDDED_BROKER";

/// Whether another child of the same supervisor has run before, so that nobody needs to be told where everything is.
pub(crate) fn is_restarted() -> bool {
    std::env::var_os(SUPERVISED).is_some_and(|value| value == AGAIN)
}
