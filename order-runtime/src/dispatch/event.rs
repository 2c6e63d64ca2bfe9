//! The first argument of every event processor.

use std::fmt;

use jiff::Timestamp;

use super::Delivery;

/// One event, decoded and validated.
pub struct Event<T> {
    /// The event's data.
    pub data: T,
    delivery: Delivery,
}

impl<T> Event<T> {
    pub(crate) fn new(data: T, delivery: Delivery) -> Self {
        Self { data, delivery }
    }

    /// The event's id; if the producer gave none, it consists of cluster, topic id, partition and offset.
    pub fn id(&self) -> &str {
        self.delivery.event_id()
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        self.delivery.event_name()
    }

    /// The event's version; 1 if the envelope has none.
    pub fn version(&self) -> u32 {
        self.delivery.envelope().version
    }

    /// When the event happened, according to its producer.
    pub fn occurred_at(&self) -> Option<Timestamp> {
        self.delivery.envelope().occurred_at
    }

    /// The record's key.
    pub fn key(&self) -> Option<&[u8]> {
        self.delivery.record().key
    }

    /// The value of the record's last header of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.delivery.record().header(name)
    }

    /// The context of this attempt's trace for calls of other services, as the value of the header `traceparent` of W3C
    /// Trace Context; `None` if the event has no trace.
    pub fn traceparent(&self) -> Option<String> {
        let headers = self.delivery.trace_headers();
        headers.iter().next().and_then(|(_, value)| String::from_utf8(value?.to_vec()).ok())
    }

    /// The number of this attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.delivery.attempt()
    }
}

impl<T: fmt::Debug> fmt::Debug for Event<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}
