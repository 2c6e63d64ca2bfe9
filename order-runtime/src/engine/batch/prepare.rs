//! Decodes a record and finds the processor for its event. If there is no processor to call, the event is settled here.

use std::sync::Arc;

use super::{
    Batch, Flow,
    attempt::Item,
    settle::{Failure, Who},
};
use crate::{
    decode::DecodedRecord,
    dispatch::{Delivery, DeliveryParts, EMITTED_BY},
    identity::{self, EventOutcome, Fingerprint, UnreadableWindow},
    model::{OnExhausted, Reason, RecordRef, cut},
    registry::{Lookup, ProcessorEntry},
    trace::Traced,
    unit_of_work::EventChanges,
};

/// The maximum size of a record, key and headers included. Larger records are dead-lettered undecoded. The limit is the broker's
/// default maximum.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The result of preparing an event.
pub(super) enum Prepared {
    /// Its processor is to be called.
    Call(Call),
    /// There is no processor to call; the state of the key queue after the event was settled.
    Settled(Flow),
}

/// The call of a processor for an event that has not been applied before.
pub(super) struct Call {
    pub(super) entry: &'static ProcessorEntry,
    pub(super) processor: usize,
    pub(super) delivery: Delivery,
}

/// A repeated event: its key has seen its id before.
pub(crate) enum Repeat {
    /// It has the same content.
    Same,
    /// It has other content.
    OtherContent,
}

impl Batch<'_> {
    /// Decodes an event and finds its processor. If there is no processor to call, the event is settled.
    pub(super) fn prepare(&mut self, item: &Item, queue: &[u8]) -> Prepared {
        let record = item.record();
        if record.size() > MAX_EVENT_BYTES {
            let message = format!("the record has {} bytes; the limit is {MAX_EVENT_BYTES}", record.size());
            let failure = Failure::of_event(Reason::TooLarge, "too_large", &message);
            return Prepared::Settled(self.dead_letter(item, queue, &Who::default(), &failure));
        }
        match DecodedRecord::decode(Arc::clone(&item.records), item.index) {
            Ok(decoded) => self.find_processor(item, queue, decoded),
            Err(error) => {
                let failure = Failure::of_event(Reason::Undecodable, error.code, &error.message);
                Prepared::Settled(self.dead_letter(item, queue, &Who::default(), &failure))
            }
        }
    }

    /// Finds the processor of a decoded event.
    fn find_processor(&mut self, item: &Item, queue: &[u8], decoded: DecodedRecord) -> Prepared {
        let record = item.record();
        let envelope = decoded.envelope();
        let given_id = envelope.id.is_none().then(|| self.place_of(&record));
        let name = &*envelope.name;
        let id = given_id.as_deref().or(envelope.id.as_deref());
        let who = Who { event_name: name, event_id: id, envelope: Some(envelope), ..Who::default() };
        let repeat = match self.repeat(item, queue, &who) {
            Ok(repeat) => repeat,
            Err(unreadable) => {
                let message = unreadable.to_string();
                let failure = Failure::of_event(Reason::Rejected, "identity_unreadable", &message);
                return Prepared::Settled(self.hold(item, queue, OnExhausted::ParkKey, &who, &failure));
            }
        };
        match repeat {
            None => {}
            Some(Repeat::Same) => {
                self.effects.counters.skipped += 1;
                self.release(item, queue);
                return Prepared::Settled(Flow::Free);
            }
            Some(Repeat::OtherContent) => {
                let who = Who { id_is_taken: true, ..who };
                return Prepared::Settled(self.reused(item, queue, &who));
            }
        }
        let (code, reason, message) = match self.partition.engine.registry.find(name, envelope.version) {
            Lookup::Found(processor, entry) => {
                let engine = &self.partition.engine;
                if let Some(delay) = engine.breakers.delay(processor, &entry.policy, engine.clock.random()) {
                    return Prepared::Settled(self.defer(item, queue, delay));
                }
                let delivery = Delivery::new(DeliveryParts {
                    shared: Arc::clone(&self.partition.shared),
                    decoded,
                    given_id: given_id.map(String::into_boxed_str),
                    attempt: item.attempts + 1,
                    changes: EventChanges::default(),
                    traced: engine.tracer.as_ref().map(|tracer| Traced::begin(tracer, item.first_failed_at.is_none())),
                });
                // Set before the call, so that a health check can name the processor while it blocks its thread.
                self.partition.status.progress.calls(processor);
                return Prepared::Call(Call { entry, processor, delivery });
            }
            // The service itself emitted the event, for other consumers, to the topic that it consumes.
            Lookup::UnknownEvent | Lookup::UnknownVersion
                if record.header(EMITTED_BY) == Some(self.partition.engine.settings.group.as_bytes()) =>
            {
                self.effects.counters.skipped += 1;
                self.release(item, queue);
                return Prepared::Settled(Flow::Free);
            }
            Lookup::UnknownEvent => {
                let message = format!("no processor handles the event `{}`", cut(name, 100));
                ("unknown_event", Reason::UnknownEvent, message)
            }
            Lookup::UnknownVersion => {
                let message = format!("no processor handles version {} of the event `{name}`", envelope.version);
                ("unknown_version", Reason::Invalid, message)
            }
        };
        Prepared::Settled(self.dead_letter(item, queue, &who, &Failure::of_event(reason, code, &message)))
    }

    /// Counts the start of an attempt.
    pub(crate) fn tried(&mut self, item: &Item, processor: usize) {
        if item.first_failed_at.is_none() {
            self.effects.trials.attempt(processor);
        }
        if item.attempts > 0 {
            self.effects.counters.retried += 1;
            self.effects.counters.processor(processor).retried += 1;
        }
    }

    /// The id of an event whose producer gave it none, derived from its partition and offset; a replay keeps the id of the
    /// original record.
    pub(super) fn place_of(&self, record: &RecordRef<'_>) -> String {
        let replayed = self.named(record).filter(|row| row.hash == identity::payload_hash(record.payload));
        replayed.map_or_else(|| self.partition.id_of_place(record.offset), |row| row.event_id.clone())
    }

    /// Whether the key has seen this event's id before; `None` also for a replay if the last outcome is the dead letter.
    ///
    /// # Errors
    /// If the deduplication window of the key cannot be read.
    pub(crate) fn repeat(&self, item: &Item, queue: &[u8], who: &Who<'_>) -> Result<Option<Repeat>, UnreadableWindow> {
        let Some(window) = self.effects.window(&self.partition.window_key(queue)).transpose()? else { return Ok(None) };
        let (Some(id), Some(envelope)) = (who.event_id, who.envelope) else { return Ok(None) };
        let Some(known) = window.find(id, identity::source_hash(envelope)) else { return Ok(None) };
        let is_replay = self.replayed(item, who).is_some();
        if is_replay && known.outcome == EventOutcome::DeadLettered {
            return Ok(None);
        }
        // Only one of a dead letter and its corrections is applied: a replay of an event that was settled since is a repeat,
        // whatever its payload.
        let is_known = |print| match print {
            Fingerprint::Content { .. } => print == identity::fingerprint(envelope),
            Fingerprint::Payload(hash) => hash == identity::payload_hash(item.record().payload),
        };
        let is_same = is_replay || is_known(known.print);
        Ok(Some(if is_same { Repeat::Same } else { Repeat::OtherContent }))
    }

    /// Dead-letters an event whose id another event of its key already has.
    fn reused(&mut self, item: &Item, queue: &[u8], who: &Who<'_>) -> Flow {
        let failure = Failure::of_event(
            Reason::Invalid,
            "event_id_reused",
            "an earlier event has the same id but different content; give each event its own id",
        );
        self.dead_letter(item, queue, who, &failure)
    }
}
