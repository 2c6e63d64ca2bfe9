//! Decodes a record and finds the processor for its event. If there is no processor to call, the event is settled here.

use std::sync::Arc;

use super::{
    Batch, Flow,
    attempt::Item,
    settle::{Failure, Who},
};
use crate::{
    decode::{self, Envelope},
    dispatch::{Delivery, DeliveryParts, EMITTED_BY, Extent},
    identity::{self, EventOutcome, Fingerprint, UnreadableWindow},
    model::{OnExhausted, Reason, RecordRef, cut},
    registry::{Lookup, ProcessorEntry},
    trace::Traced,
    unit_of_work::EventChanges,
};

/// The maximum size of a record, key and headers included. Larger records are dead-lettered undecoded. The limit is the broker's
/// default maximum.
const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// An event that has a processor and has not been applied before.
pub(super) struct Prepared {
    pub(crate) entry: &'static ProcessorEntry,
    pub(crate) processor: usize,
    pub(crate) delivery: Delivery,
}

/// The result of looking for an event's processor.
enum Placed {
    /// A processor was found.
    Prepared(Prepared),
    /// There is no processor to call; the state of the key queue after the event was settled.
    Settled(Flow),
    /// The record must be decoded completely before a verdict; the envelope decoded so far.
    Verdict(Envelope),
}

/// A repeated event: its key has seen its id before.
pub(crate) enum Repeat {
    /// It has the same content.
    Same,
    /// It has other content.
    OtherContent,
}

/// How an event's record is decoded.
#[derive(Debug, Default)]
pub(super) enum Reading {
    /// Up to its data, if that is enough to find its processor. A verdict needs the rest, too.
    #[default]
    Quick,
    /// From its data on; the part before it has been decoded.
    Rest(Envelope),
    /// Completely.
    Whole,
}

impl Batch<'_> {
    /// Decodes an event and finds its processor; `Err` if there is no processor to call and the event is settled.
    pub(super) fn prepare(&mut self, item: &Item, queue: &[u8], how: Reading) -> Result<Prepared, Flow> {
        let record = item.record();
        if record.size() > MAX_EVENT_BYTES {
            let message = format!("the record has {} bytes; the limit is {MAX_EVENT_BYTES}", record.size());
            let failure = Failure::of_event(Reason::TooLarge, "too_large", &message);
            return Err(self.dead_letter(item, queue, &Who::default(), &failure));
        }
        if matches!(how, Reading::Quick)
            && let Some(envelope) = decode::decode_head(&record)
        {
            return match self.place(item, queue, envelope, Extent::Front) {
                Placed::Verdict(envelope) => self.prepare(item, queue, Reading::Rest(envelope)),
                Placed::Prepared(prepared) => Ok(prepared),
                Placed::Settled(flow) => Err(flow),
            };
        }
        let read = match how {
            Reading::Rest(head) => decode::decode_rest(head, &record),
            Reading::Quick | Reading::Whole => decode::decode(&record),
        };
        let envelope = match read {
            Ok(envelope) => envelope,
            Err(error) => {
                let failure = Failure::of_event(Reason::Undecodable, error.code, &error.message);
                return Err(self.dead_letter(item, queue, &Who::default(), &failure));
            }
        };
        match self.place(item, queue, envelope, Extent::Whole) {
            Placed::Prepared(prepared) => Ok(prepared),
            Placed::Settled(flow) => Err(flow),
            Placed::Verdict(_) => unreachable!("a completely decoded event always gets a verdict"),
        }
    }

    /// Finds the processor of an event. An event that is decoded only up to its data gets no verdict.
    fn place(&mut self, item: &Item, queue: &[u8], envelope: Envelope, read: Extent) -> Placed {
        let is_open = read == Extent::Front;
        let record = item.record();
        let payload = record.payload.unwrap_or_default();
        let given_id = envelope.id.is_none().then(|| self.place_of(&record));
        let name = envelope.name.of(payload);
        let id = given_id.as_deref().or_else(|| envelope.id.as_ref().map(|id| id.of(payload)));
        let who = Who { event_name: name, event_id: id, envelope: Some(&envelope), ..Who::default() };
        let repeat = match self.repeat(item, queue, &who) {
            Ok(repeat) => repeat,
            Err(unreadable) => {
                let message = unreadable.to_string();
                let failure = Failure::of_event(Reason::Rejected, "identity_unreadable", &message);
                return Placed::Settled(self.hold(item, queue, OnExhausted::ParkKey, &who, &failure));
            }
        };
        match repeat {
            None => {}
            Some(Repeat::Same) => {
                self.effects.counters.skipped += 1;
                self.release(item, queue);
                return Placed::Settled(Flow::Free);
            }
            Some(_) if is_open => return Placed::Verdict(envelope),
            Some(Repeat::OtherContent) => {
                let who = Who { id_is_taken: true, ..who };
                return Placed::Settled(self.reused(item, queue, &who));
            }
        }
        let (code, reason, message) = match self.partition.engine.registry.find(name, envelope.version) {
            Lookup::Found(processor, entry) => {
                let engine = &self.partition.engine;
                if let Some(delay) = engine.breakers.delay(processor, &entry.policy, engine.clock.random()) {
                    return Placed::Settled(self.defer(item, queue, delay));
                }
                let delivery = Delivery::new(DeliveryParts {
                    shared: Arc::clone(&self.partition.shared),
                    records: Arc::clone(&item.records),
                    index: item.index,
                    read,
                    given_id: given_id.map(String::into_boxed_str),
                    envelope,
                    attempt: item.attempts + 1,
                    changes: EventChanges::default(),
                    traced: engine.tracer.as_ref().map(|tracer| Traced::begin(tracer, item.first_failed_at.is_none())),
                });
                // Set before the call, so that a health check can name the processor while it blocks its thread.
                self.partition.status.progress.calls(processor);
                return Placed::Prepared(Prepared { entry, processor, delivery });
            }
            _ if is_open => return Placed::Verdict(envelope),
            // The service itself emitted the event, for other consumers, to the topic that it consumes.
            Lookup::UnknownEvent | Lookup::UnknownVersion
                if record.header(EMITTED_BY) == Some(self.partition.engine.settings.group.as_bytes()) =>
            {
                self.effects.counters.skipped += 1;
                self.release(item, queue);
                return Placed::Settled(Flow::Free);
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
        Placed::Settled(self.dead_letter(item, queue, &who, &Failure::of_event(reason, code, &message)))
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

    pub(crate) fn event_id(&self, envelope: &Envelope, item: &Item) -> String {
        let record = item.record();
        match &envelope.id {
            Some(id) => id.of(record.payload.unwrap_or_default()).to_owned(),
            None => self.place_of(&record),
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
        let payload = item.record().payload;
        let source = identity::source_hash(envelope, payload.unwrap_or_default());
        let Some(known) = window.find(id, source) else { return Ok(None) };
        let is_replay = self.replayed(item, who).is_some();
        if is_replay && known.outcome == EventOutcome::DeadLettered {
            return Ok(None);
        }
        // Only one of a dead letter and its corrections is applied: a replay of an event that was settled since is a repeat,
        // whatever its payload.
        let is_known = |print| match print {
            Fingerprint::Content { .. } => print == identity::fingerprint(envelope, payload.unwrap_or_default()),
            Fingerprint::Payload(hash) => hash == identity::payload_hash(payload),
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
