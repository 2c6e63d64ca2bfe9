//! Events that a processor emits: part of its event's transaction, published after it.

use std::fmt;

use serde::Serialize;

use super::{Class, Delivery, Failed, Failure, Injectable};
use crate::{
    decode::{self, Undecodable},
    identity,
    model::OutgoingRecord,
};

/// The largest emitted event in bytes, key and headers included: what a broker takes by default, less what it adds itself.
const LARGEST: usize = 1_000_000;
/// The header of an emitted event that names the consumer group of the service which has emitted it. An event that comes back to
/// that service, and that none of its processors handles, was for others.
pub(crate) const EMITTED_BY: &str = "emitted-by";

/// Emits events. Take it as an argument of an event processor, or as a field of a contract.
///
/// What is emitted counts when the event succeeds: it is written to the store's outbox in the same transaction as the
/// event's other effects, and published when that is committed, by an idempotent producer and in order per key. A crash
/// may publish it twice, under the same id: the hash of its cause's id and its number among what that cause has emitted. So a
/// consumer that knows ids counts it once.
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

/// Why an event is not emitted. As a failure it is a dead letter: no attempt at the same event would do better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The name is empty, too long, or has control characters.
    #[error("the event is not emitted: {0}")]
    Name(Undecodable),
    /// The data is not to be had as JSON.
    #[error("the data of the emitted event `{event}` does not serialize: {reason}")]
    Data {
        /// The event's name.
        event: String,
        /// The serializer's word.
        reason: String,
    },
    /// Versions begin at 1.
    #[error("the event `{event}` is not emitted: its version is 0, and versions begin at 1")]
    Version {
        /// The event's name.
        event: String,
    },
    /// The event is larger than a broker takes.
    #[error("the emitted event `{event}` has {bytes} bytes; the most is {LARGEST}")]
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
    /// The same emitter for events of that version; without this it is 1.
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

    /// Emits an event to the topic that its cause came from. It comes back to this service, which skips it unless a
    /// processor handles it.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn emit<T: Serialize>(&self, event: &str, key: &str, data: &T) -> Result<(), EmitError> {
        let topic = self.delivery.partition().topic.to_string();
        self.emit_to(&topic, event, key, data)
    }

    /// The same to a topic of one's own choice. It must exist, and the service be allowed to write to it; until then its events
    /// wait in the store, and the service is not ready. So does an event that is larger than the topic takes.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn emit_to<T: Serialize>(&self, topic: &str, event: &str, key: &str, data: &T) -> Result<(), EmitError> {
        decode::check_name(event).map_err(EmitError::Name)?;
        let version = self.version;
        if version == 0 {
            return Err(EmitError::Version { event: event.to_owned() });
        }
        // The time is that of the cause: an attempt that runs again emits the same bytes.
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
