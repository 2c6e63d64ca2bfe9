//! The assignment of partitions to this process: their owners, the offsets at which they begin, and orphaned partitions.

pub(crate) mod coordinator;
pub(crate) mod ended;
pub(crate) mod orphaned;
pub(crate) mod start;
