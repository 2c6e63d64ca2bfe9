//! The types that all modules share, without logic of their own.

mod address;
mod dead_letter;
mod health;
mod log_throttle;
mod outgoing;
mod partition;
mod policy;
mod record;
mod text;
mod topics;
mod values;

pub(crate) use self::{
    address::{host, is_loopback},
    log_throttle::LogThrottle,
    record::{Arena, Pool},
    text::cut,
    topics::TopicPattern,
};
pub use self::{
    dead_letter::{DeadLetterId, Digits, Reason},
    health::Health,
    outgoing::{OutgoingRecord, OutgoingRecords},
    partition::PartitionId,
    policy::{OnExhausted, RetryPolicy},
    record::{HeaderBlock, Headers, RecordBatch, RecordRef},
    values::{IdRule, InvalidId, UnknownValue},
};
