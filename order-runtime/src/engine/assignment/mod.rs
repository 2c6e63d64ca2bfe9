//! Which partitions this process owns: where each begins, and what becomes of events whose partition no assignment brings here.

pub(crate) mod coordinator;
pub(crate) mod ended;
pub(crate) mod orphaned;
pub(crate) mod start;
