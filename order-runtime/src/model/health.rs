//! Whether a part of the service is live and ready.

/// Whether the service makes progress (live) and can do its work (ready).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Why it is not live; empty if it is.
    pub not_live: Vec<String>,
    /// Why it is not ready; empty if it is.
    pub not_ready: Vec<String>,
    /// Problems that an operator should check, although the service can do its work.
    pub warnings: Vec<String>,
}
