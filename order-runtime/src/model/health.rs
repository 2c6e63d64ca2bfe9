//! Whether a part of the service is live and ready.

/// Whether the service moves and whether it is fit for work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Why it is not live; empty where it is.
    pub not_live: Vec<String>,
    /// Why it is not ready; empty where it is.
    pub not_ready: Vec<String>,
    /// What somebody should look at, although the service is fit for work.
    pub warnings: Vec<String>,
}
