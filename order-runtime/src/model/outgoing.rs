//! A record to be published.

use std::sync::Arc;

use bytes::Bytes;

use super::HeaderBlock;

/// A record for Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; `None` lets the key decide.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The payload; `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// Headers in their order; names are any bytes.
    pub headers: HeaderBlock,
    /// Milliseconds since the epoch; `None` for now.
    pub timestamp: Option<i64>,
}

impl OutgoingRecord {
    /// The bytes of key, payload and headers together.
    pub fn size(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        length(&self.key) + length(&self.payload) + self.headers.size()
    }
}

/// Records that are published together. The slice is shared, because another thread may publish it: the caller can keep the
/// records without cloning each of them.
pub type OutgoingRecords = Arc<[Arc<OutgoingRecord>]>;
