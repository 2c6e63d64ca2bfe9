//! From a record to the processor that is to be called for its event; where there is none to call, the event is settled here.

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

/// A record larger than this, key and headers included, is not decoded: the largest that a broker takes by default.
const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// An event that has a processor and has not been applied before.
pub(super) struct Prepared {
    pub(crate) entry: &'static ProcessorEntry,
    pub(crate) processor: usize,
    pub(crate) delivery: Delivery,
}

/// What is found for an event.
enum Placed {
    /// A processor.
    Prepared(Prepared),
    /// There is nothing to call; what follows for its queue.
    Settled(Flow),
    /// A verdict that wants the record read to its end first; what is known of it so far.
    Verdict(Envelope),
}

/// An event whose id its key has seen before.
pub(crate) enum Repeat {
    /// It says the same.
    Same,
    /// It says something else.
    OtherContent,
}

/// How an event's record is read.
#[derive(Debug, Default)]
pub(super) enum Reading {
    /// As far as its data, where that is enough to find its processor. A verdict wants the rest read, too.
    #[default]
    Quick,
    /// From its data on, since what comes before that was read.
    Rest(Envelope),
    /// From its beginning to its end.
    Whole,
}

impl Batch<'_> {
    /// Decodes an event and finds its processor. Where there is nothing to call, the event is settled here.
    pub(super) fn prepare(&mut self, item: &Item, queue: &[u8], how: Reading) -> Result<Prepared, Flow> {
        let record = item.record();
        if record.size() > MAX_EVENT_BYTES {
            let message = format!("the record has {} bytes; the service takes {MAX_EVENT_BYTES}", record.size());
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
            Placed::Verdict(_) => unreachable!("an event that was read to its end gets its verdict"),
        }
    }

    /// Finds the processor of an event. One that is read as far as its data only gets no verdict.
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
                // Before the call: who asks why the partition stands still may ask while the processor blocks its thread.
                self.partition.status.progress.calls(processor);
                return Placed::Prepared(Prepared { entry, processor, delivery });
            }
            _ if is_open => return Placed::Verdict(envelope),
            // The service has emitted it for others to the topic that it consumes.
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

    /// Counts an attempt that has begun.
    pub(crate) fn tried(&mut self, item: &Item, processor: usize) {
        if item.first_failed_at.is_none() {
            self.effects.trials.attempt(processor);
        }
        if item.attempts > 0 {
            self.effects.counters.retried += 1;
            self.effects.counters.processor(processor)[2] += 1;
        }
    }

    pub(crate) fn event_id(&self, envelope: &Envelope, item: &Item) -> String {
        let record = item.record();
        match &envelope.id {
            Some(id) => id.of(record.payload.unwrap_or_default()).to_owned(),
            None => self.place_of(&record),
        }
    }

    /// The id of an event whose producer gave it none: of the place where it lay first, if this is a replay.
    pub(super) fn place_of(&self, record: &RecordRef<'_>) -> String {
        let replayed = self.named(record).filter(|row| row.hash == identity::payload_hash(record.payload));
        replayed.map_or_else(|| self.partition.id_of_place(record.offset), |row| row.event_id.clone())
    }

    /// Whether the key has seen this event's id before; `None` also for a replay that is due its turn.
    ///
    /// # Errors
    /// Which ids the key has seen cannot be read.
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
        // Of a dead letter and its corrections one counts: a replay of an event that was settled since is a repeat, whatever
        // its payload.
        let is_known = |print| match print {
            Fingerprint::Content { .. } => print == identity::fingerprint(envelope, payload.unwrap_or_default()),
            Fingerprint::Payload(hash) => hash == identity::payload_hash(payload),
        };
        let is_same = is_replay || is_known(known.print);
        Ok(Some(if is_same { Repeat::Same } else { Repeat::OtherContent }))
    }

    /// Settles an event whose id belongs to another one of its key.
    fn reused(&mut self, item: &Item, queue: &[u8], who: &Who<'_>) -> Flow {
        let failure = Failure::of_event(
            Reason::Invalid,
            "event_id_reused",
            "another event with this id but another content was received before; give each event an id of its own",
        );
        self.dead_letter(item, queue, who, &failure)
    }
}
