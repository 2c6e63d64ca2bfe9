//! Events that a processor emits: part of the transaction of its event, published after the commit.

use std::fmt;

use serde::Serialize;

use super::{Class, Delivery, Failed, Failure, Injectable};
use crate::{
    decode::{self, DecodeError},
    identity,
    model::OutgoingRecord,
};

/// The largest emitted event in bytes, key and headers included: the broker's default limit minus the bytes that it adds.
const LARGEST: usize = 1_000_000;
/// The header of an emitted event that names the consumer group of the emitting service. If the event comes back to that
/// service and none of its processors handles it, it was meant for others.
pub(crate) const EMITTED_BY: &str = "emitted-by";

/// Emits events. Take it as an argument of an event processor, or as a field of a contract.
///
/// An emitted event counts if its cause succeeds: it is written to the store's outbox in the same transaction as the cause's
/// other effects. After the commit, an idempotent producer publishes it, in order per key. A crash may publish it twice, under
/// the same id: the hash of its cause's id and its index among the events that the cause emitted. So a consumer that
/// deduplicates by id counts it once.
///
/// ```no_run,standalone_crate
/// # order_runtime::dispatcher!(name = "things");
/// # fn main() {}
/// use order_runtime::prelude::*;
///
/// #[event_processor("ThingDone")]
/// pub async fn EventProcessor_ThingDone(event: Event<Value>, events: Emitter) -> Result<(), Failed> {
///     let thing = event.data["thingId"].as_str().unwrap_or_default();
///     events.emit("ThingConfirmed", thing, &event.data)?;
///     Ok(())
/// }
/// ```
pub struct Emitter {
    delivery: Delivery,
    version: u32,
}

/// Why an event is not emitted. As a processor's failure it dead-letters the cause, because another attempt would fail too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The name is empty, too long, or has control characters.
    #[error("the event is not emitted: {0}")]
    Name(DecodeError),
    /// The data cannot be serialized as JSON.
    #[error("the data of the emitted event `{event}` cannot be serialized: {reason}")]
    Data {
        /// The event's name.
        event: String,
        /// The serializer's error.
        reason: String,
    },
    /// The version is 0; versions begin at 1.
    #[error("the event `{event}` is not emitted: its version is 0, and versions begin at 1")]
    Version {
        /// The event's name.
        event: String,
    },
    /// The event is larger than a broker accepts.
    #[error("the emitted event `{event}` has {bytes} bytes; the maximum is {LARGEST}")]
    TooLarge {
        /// The event's name.
        event: String,
        /// Its size.
        bytes: usize,
    },
}

impl Failure for EmitError {
    fn class(&self) -> Class {
        Class::DeadLetter
    }

    fn code(&self) -> std::borrow::Cow<'static, str> {
        "not_emitted".into()
    }
}

impl From<EmitError> for Failed {
    fn from(error: EmitError) -> Self {
        Self::dead_letter("not_emitted", error.to_string())
    }
}

/// The envelope of an emitted event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, T> {
    event_id: &'a str,
    event_name: &'a str,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<jiff::Timestamp>,
    data: &'a T,
}

impl Emitter {
    /// The same emitter for events of that version; the default version is 1.
    ///
    /// ```no_run,standalone_crate
    /// # order_runtime::dispatcher!(name = "things");
    /// # fn main() {}
    /// # use order_runtime::prelude::*;
    /// # fn confirm(events: &Emitter, thing: &str) -> Result<(), EmitError> {
    /// events.version(2).emit("ThingConfirmed", thing, &true)
    /// # }
    /// ```
    #[must_use]
    pub fn version(&self, version: u32) -> Self {
        Self { delivery: self.delivery.clone(), version }
    }

    /// Emits an event to the topic of its cause. The event comes back to this service, which skips it unless a processor
    /// handles it.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn emit<T: Serialize>(&self, event: &str, key: &str, data: &T) -> Result<(), EmitError> {
        let topic = self.delivery.partition().topic.to_string();
        self.emit_to(&topic, event, key, data)
    }

    /// Like [`emit`](Self::emit), to any topic. The topic must exist and the service must be allowed to write to it. Until then
    /// its events wait in the store, and the service is not ready. The same applies to an event that is larger than the topic
    /// accepts.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn emit_to<T: Serialize>(&self, topic: &str, event: &str, key: &str, data: &T) -> Result<(), EmitError> {
        decode::check_name(event).map_err(EmitError::Name)?;
        let version = self.version;
        if version == 0 {
            return Err(EmitError::Version { event: event.to_owned() });
        }
        // The time is that of the cause, so that every attempt emits the same bytes.
        let occurred_at = self.delivery.envelope().occurred_at.or_else(|| self.delivery.record().time());
        self.delivery.changes().emit(|index| {
            let event_id = identity::emitted_id(&self.delivery.identity(), index);
            let envelope = Envelope { event_id: &event_id, event_name: event, version, occurred_at, data };
            let payload = serde_json::to_vec(&envelope)
                .map_err(|error| EmitError::Data { event: event.to_owned(), reason: error.to_string() })?;
            let mut headers = self.delivery.trace_headers();
            headers.push_text(EMITTED_BY, self.delivery.group());
            let record = OutgoingRecord {
                topic: topic.into(),
                partition: None,
                key: Some(key.as_bytes().to_vec().into()),
                payload: Some(payload.into()),
                headers,
                timestamp: None,
            };
            let bytes = record.size();
            if bytes > LARGEST {
                return Err(EmitError::TooLarge { event: event.to_owned(), bytes });
            }
            Ok(record)
        })
    }
}

impl Injectable for Emitter {
    fn inject(delivery: &Delivery) -> Self {
        Self { delivery: delivery.clone(), version: 1 }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").finish_non_exhaustive()
    }
}
