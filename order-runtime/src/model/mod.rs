//! The types that all modules share, without logic of their own.

mod address;
mod dead_letter;
mod health;
mod outgoing;
mod partition;
mod policy;
mod record;
mod text;
mod topics;
mod values;

pub(crate) use self::{
    address::is_loopback,
    record::{Arena, Pool},
    text::cut,
};
pub use self::{
    dead_letter::{DeadLetterId, Digits, Reason},
    health::Health,
    outgoing::{OutgoingRecord, OutgoingRecords},
    partition::PartitionId,
    policy::{OnExhausted, RetryPolicy},
    record::{HeaderBlock, Headers, RecordBatch, RecordRef},
    topics::TopicPattern,
    values::{IdRule, InvalidId, UnknownValue},
};
