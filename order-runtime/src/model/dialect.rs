//! The dead-letter headers of other frameworks that the service can write.

/// Additional headers of our dead letters, so that the tools of another framework understand them: `KAFKA_DLQ_HEADERS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// As Spring Kafka writes them.
    Spring,
    /// As Kafka Connect writes them.
    Connect,
}

impl Dialect {
    /// Its name in `KAFKA_DLQ_HEADERS`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spring => "spring",
            Self::Connect => "connect",
        }
    }

    /// Whether a header belongs to the dialect. An incoming one must not be mistaken for ours.
    pub(crate) fn owns(self, name: &[u8]) -> bool {
        match self {
            Self::Spring => name.starts_with(b"kafka_dlt-"),
            Self::Connect => name.starts_with(b"__connect.errors."),
        }
    }
}
