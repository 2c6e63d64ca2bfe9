//! Decides the outcome of an event after an attempt and adds it to the effects of the batch.

use std::{borrow::Cow, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    Batch, Flow,
    attempt::{End, EndedAttempt, Item},
    dead_letter::Verdict,
    prepare::Repeat,
};
use crate::{
    decode::{self, Envelope},
    dispatch::{Class, Delivery, Outcome, shown},
    engine::{
        observe::event_log::Notable,
        partition::ForcedDeadLetter,
        retry::{self, Next},
    },
    identity::{self, DedupEntry, EventOutcome, Fingerprint},
    model::{DeadLetterId, OnExhausted, Reason, RecordRef, cut},
    registry::ProcessorEntry,
    store::{DeadLetterRow, OutboxRecord, StoreError, WaitingRow, WaitingState},
    unit_of_work::{LookupFailure, Merge},
};

/// The maximum length of an error message in a waiting row, in bytes.
const MESSAGE_LIMIT: usize = 1024;

/// The result of settling an ended attempt.
pub(super) enum Settled {
    /// The event is settled or waits; the state of its key queue.
    Next(Flow),
    /// The event runs again without a failure of its own: a row that it read has changed since.
    RunAgain(Item),
}

/// A failure, as recorded in a waiting row or a dead letter.
pub(super) struct Failure<'a> {
    /// The reason of the dead letter if the event becomes one.
    pub(crate) reason: Reason,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: &'a str,
    /// Whether it shows that an external dependency is unavailable for other events, too. The circuit breaker counts only such
    /// failures.
    pub(super) is_outage: bool,
}

/// The identity of an event, as far as it is known.
#[derive(Default)]
pub(crate) struct Who<'a> {
    pub(crate) event_name: &'a str,
    pub(crate) event_id: Option<&'a str>,
    /// Its envelope, if it could be decoded.
    pub(super) envelope: Option<&'a Envelope<'a>>,
    /// Whether the id belongs to another event; this event is then not remembered under it.
    pub(super) id_is_taken: bool,
    pub(crate) processor: Option<(usize, &'static str)>,
}

impl Batch<'_> {
    /// The dead letter that this record is a replay of. The record's headers count only if they match the store.
    pub(super) fn replayed(&self, item: &Item, who: &Who<'_>) -> Option<&DeadLetterRow> {
        let record = item.record();
        let row = self.named(&record)?;
        let same = match who.own_id() {
            Some(id) => row.event_id == id,
            None => row.hash == identity::payload_hash(record.payload),
        };
        same.then_some(row)
    }

    /// The dead letter that the record's headers name, if the store has it.
    pub(crate) fn named(&self, record: &RecordRef<'_>) -> Option<&DeadLetterRow> {
        let id = DeadLetterId::parse(record.header("dlq-id")?)?;
        self.effects.known_dead_letters.get(&id)
    }

    /// Settles the event of an ended attempt, and measures and traces the attempt.
    ///
    /// # Errors
    /// If the store cannot load a row that the merge needs.
    pub(super) async fn settle(&mut self, queue: &[u8], ended: EndedAttempt) -> Result<Settled, StoreError> {
        self.effects.timing.ended(ended.processor, ended.end.is_failure(), ended.elapsed);
        let span = self.open_span(&ended);
        let settled = self.decide(queue, ended).await?;
        if let (Some(span), Settled::Next(flow)) = (span, &settled) {
            self.close_span(&span, *flow);
        }
        Ok(settled)
    }

    async fn decide(&mut self, queue: &[u8], ended: EndedAttempt) -> Result<Settled, StoreError> {
        let EndedAttempt { mut item, processor, delivery, end, elapsed: _ } = ended;
        let entry = self.partition.engine.registry.processors()[processor];
        // A closure, because only failures need it.
        let who = || who(&delivery, processor, entry);
        Ok(Settled::Next(match end {
            End::Returned(Outcome::Done) => loop {
                match self.partition.unit.merge(delivery.changes(), self.now) {
                    Merge::Merged => {
                        self.effects.counters.ok += 1;
                        self.effects.counters.processor(processor).ok += 1;
                        let source_offset = item.record().offset;
                        let emitted = delivery.changes().take_emitted().into_iter();
                        self.effects
                            .outbox
                            .extend(emitted.map(|record| OutboxRecord { source_offset, record: Arc::new(record) }));
                        break self.done(&item, queue, &delivery, EventOutcome::Handled);
                    }
                    Merge::Unloaded => self.load_wanted().await?,
                    Merge::Stale => return Ok(Settled::RunAgain(item)),
                    Merge::Failed(failure) => break self.lookup_failed(item, queue, processor, &delivery, &failure),
                }
            },
            End::Returned(Outcome::Invalid(invalid)) => {
                item.count_failure(self.now, true);
                let message = shown(&invalid);
                let failure = Failure::of_event(Reason::Invalid, "invalid_data", &message);
                self.dead_letter(&item, queue, &who(), &failure)
            }
            End::Returned(Outcome::Failed(failed)) => {
                let is_outage = failed.class == Class::Unavailable;
                let failure =
                    |reason| Failure { reason, code: failed.code.clone(), message: &failed.message, is_outage };
                if !matches!(failed.class, Class::Skip | Class::Retry | Class::Unavailable) {
                    item.count_failure(self.now, true);
                }
                match failed.class {
                    Class::Skip => {
                        self.effects.counters.skipped += 1;
                        self.effects.counters.processor(processor).skipped += 1;
                        self.done(&item, queue, &delivery, EventOutcome::Skipped)
                    }
                    Class::DeadLetter => self.dead_letter(&item, queue, &who(), &failure(Reason::Rejected)),
                    Class::Retry | Class::Unavailable => {
                        self.failed(item, queue, processor, &delivery, &failure(Reason::Exhausted))
                    }
                    Class::ParkKey => self.hold(&item, queue, OnExhausted::ParkKey, &who(), &failure(Reason::Rejected)),
                    Class::Stop => self.hold(&item, queue, OnExhausted::Stop, &who(), &failure(Reason::Rejected)),
                }
            }
            End::Panicked(message) => {
                let failure = Failure::of_event(Reason::Panic, "panic", &message);
                self.failed(item, queue, processor, &delivery, &failure)
            }
            End::TimedOut(limit) => {
                let message = format!("the processor did not return within {}", humantime::format_duration(limit));
                // A processor that waits too long is assumed to wait for an external dependency.
                let failure = Failure { is_outage: true, ..Failure::of_event(Reason::Timeout, "timeout", &message) };
                self.failed(item, queue, processor, &delivery, &failure)
            }
            End::LookupFailed(failure) => self.lookup_failed(item, queue, processor, &delivery, &failure),
        }))
    }

    /// Handles a failed look-up. An event whose row is unreadable waits until the row is repaired, and its retry budget
    /// begins then. An undeclared entity is a failure of the attempt.
    fn lookup_failed(
        &mut self,
        item: Item,
        queue: &[u8],
        processor: usize,
        delivery: &Delivery,
        failure: &LookupFailure,
    ) -> Flow {
        let entry = self.partition.engine.registry.processors()[processor];
        let (code, message) = (failure.code(), failure.message());
        let reported = Failure::of_event(Reason::Exhausted, code, &message);
        match failure {
            LookupFailure::Unreadable(_) => {
                let delay = retry::backoff(&entry.policy, u32::MAX);
                self.wait_with(&item, queue, WaitingState::Retry, delay, Some(&reported), self.now);
                self.note(
                    "waits until an unreadable row is repaired",
                    &item,
                    &who(delivery, processor, entry),
                    &reported,
                );
                Flow::Waits
            }
            LookupFailure::Undeclared(_) => self.failed(item, queue, processor, delivery, &reported),
        }
    }

    /// Handles a failure that may be temporary: retries the event, or applies its policy if the retry budget is spent.
    fn failed(
        &mut self,
        mut item: Item,
        queue: &[u8],
        processor: usize,
        delivery: &Delivery,
        failure: &Failure<'_>,
    ) -> Flow {
        let now = self.now;
        let engine = &self.partition.engine;
        let entry = engine.registry.processors()[processor];
        let who = &who(delivery, processor, entry);
        let limit = engine.settings.retry_max_elapsed;
        let is_first = item.first_failed_at.is_none();
        if is_first && failure.is_outage {
            self.effects.trials.failures.push((processor, failure.code.clone().into_owned()));
        }
        let frozen = failure.is_outage && engine.breakers.freezes(processor, &failure.code);
        item.count_failure(now, !frozen);
        let failing = item.first_failed_at.map(|first| now.duration_since(first).unsigned_abs()).unwrap_or_default();
        let has_time = limit.is_none_or(|limit| failing < limit);
        if frozen && has_time {
            return self.wait_for_outage(&item, queue, entry, failure);
        }
        // Time that the event has waited for an open circuit breaker before its first failure does not count.
        let waited = item.row.as_ref().filter(|row| !(is_first && row.state == WaitingState::Retry));
        let since = waited.map(|row| row.since).or(item.first_failed_at).unwrap_or(now);
        let is_alone = self.effects.counters.processor(processor).ok == 0;
        let breakers = &self.partition.engine.breakers;
        match retry::next(&entry.policy, limit, item.attempts, since, now, self.partition.engine.clock.random()) {
            Next::Again(delay) if delay <= retry::IN_PLACE => self.again_in_place(item, queue, delay),
            Next::Again(delay) => {
                self.wait_with(&item, queue, WaitingState::Retry, delay, Some(failure), since);
                Flow::Waits
            }
            Next::Exhausted
                if failure.is_outage
                    // A processor may hang because of its event.
                    && failure.reason != Reason::Timeout
                    && has_time
                    && is_alone
                    && breakers.opens_at_end(processor, &failure.code, failing) =>
            {
                item.attempts = item.attempts.saturating_sub(1);
                self.wait_for_outage(&item, queue, entry, failure)
            }
            Next::Exhausted => match entry.policy.on_exhausted {
                OnExhausted::DeadLetter => self.dead_letter(&item, queue, who, failure),
                held => self.hold(&item, queue, held, who, failure),
            },
        }
    }

    /// Makes an event wait while its processor's circuit breaker is open for this failure. Its retry budget begins when the
    /// breaker closes.
    fn wait_for_outage(&mut self, item: &Item, queue: &[u8], entry: &ProcessorEntry, failure: &Failure<'_>) -> Flow {
        let delay = retry::backoff(&entry.policy, u32::MAX);
        self.wait_with(item, queue, WaitingState::Retry, delay, Some(failure), self.now);
        Flow::Waits
    }

    /// Holds this event and the events behind it until an operator releases them.
    pub(super) fn hold(
        &mut self,
        item: &Item,
        queue: &[u8],
        how: OnExhausted,
        who: &Who<'_>,
        failure: &Failure<'_>,
    ) -> Flow {
        self.wait_with(item, queue, WaitingState::Held(how), Duration::ZERO, Some(failure), self.since(item));
        self.note("held: its key waits for an operator", item, who, failure);
        Flow::Waits
    }

    /// Makes an event wait in the store.
    pub(crate) fn wait(&mut self, item: &Item, queue: &[u8], state: WaitingState) {
        self.wait_with(item, queue, state, Duration::ZERO, None, self.since(item));
    }

    /// Makes an event wait without an attempt, because its processor's circuit breaker is open. An unchanged waiting row is
    /// kept; the row of an event whose attempt has just ended is rewritten, because its state is no longer `Running`.
    pub(super) fn defer(&mut self, item: &Item, queue: &[u8], delay: Duration) -> Flow {
        let is_as_it_was = |row: &WaitingRow| {
            row.state != WaitingState::Running
                && (row.attempts, row.first_failed_at) == (item.attempts, item.first_failed_at)
        };
        if item.row.as_deref().is_some_and(is_as_it_was) {
            self.effects.postponed.push((queue.into(), delay));
        } else {
            self.wait_with(item, queue, WaitingState::Retry, delay, None, self.since(item));
        }
        Flow::Waits
    }

    /// The time since which an event waits.
    fn since(&self, item: &Item) -> Timestamp {
        item.row.as_ref().map_or(self.now, |row| row.since)
    }

    fn wait_with(
        &mut self,
        item: &Item,
        queue: &[u8],
        state: WaitingState,
        delay: Duration,
        failure: Option<&Failure<'_>>,
        since: Timestamp,
    ) {
        let record = item.record();
        let now = self.now;
        let earlier = item.row.as_deref();
        let (error_code, error_message) = match (failure, earlier) {
            (Some(failure), _) => (failure.code.clone().into_owned(), cut(failure.message, MESSAGE_LIMIT).to_owned()),
            (None, Some(row)) => (row.error_code.clone(), row.error_message.clone()),
            (None, None) => (String::new(), String::new()),
        };
        let row = WaitingRow {
            offset: record.offset,
            queue: queue.to_vec(),
            state,
            attempts: item.attempts,
            since,
            first_failed_at: item.first_failed_at,
            due: now.checked_add(delay).unwrap_or(Timestamp::MAX),
            error_code,
            error_message,
            key: record.key.map(<[u8]>::to_vec),
            payload: record.payload.map(<[u8]>::to_vec),
            headers: record.encoded_headers().to_vec(),
            timestamp: record.timestamp,
        };
        self.effects.waiting.insert(row.offset, row);
    }

    /// Records that an event was handled or skipped.
    fn done(&mut self, item: &Item, queue: &[u8], delivery: &Delivery, outcome: EventOutcome) -> Flow {
        if self.partition.engine.remembers {
            let print = identity::fingerprint(delivery.envelope());
            self.remember(queue, delivery.event_id(), delivery.event_name(), print, outcome);
        }
        self.release(item, queue);
        Flow::Free
    }

    /// Dead-letters an event; its key queue goes on.
    pub(super) fn dead_letter(&mut self, item: &Item, queue: &[u8], who: &Who<'_>, failure: &Failure<'_>) -> Flow {
        let record = item.record();
        let now = self.now;
        let engine = &self.partition.engine;
        let replayed = self.replayed(item, who);
        let id = replayed.map_or_else(|| self.partition.dead_letter_id(record.offset), |earlier| earlier.dlq_id);
        let replays = replayed.map_or(0, |earlier| earlier.replays + 1);
        let own_id = who.own_id().map_or_else(|| Cow::Owned(self.place_of(&record)), Cow::Borrowed);
        let event_id = who.event_id.unwrap_or(&own_id);
        let mut letter = self.letters.record(
            &engine.settings,
            &self.partition.id,
            &record,
            &Verdict {
                id: &id.digits(),
                reason: failure.reason,
                code: &failure.code,
                message: failure.message,
                event_name: who.event_name,
                event_id,
                processor: who.processor.map_or("", |(_, name)| name),
                attempts: item.attempts,
                first_failed_at: item.first_failed_at.unwrap_or(now),
                replays,
            },
        );
        let reported = (who.event_name, event_id, who.processor.is_some());
        self.trace_dead_letter(&mut letter, item, reported, (&failure.code, failure.message));
        let remembered = DeadLetterRow {
            dlq_id: id,
            event_id: own_id.to_string(),
            hash: identity::payload_hash(record.payload),
            replays,
            reason: failure.reason.as_str().into(),
            code: failure.code.clone(),
            at: now,
        };
        self.effects.dead_letters.push(Arc::new(remembered));
        self.effects.outbox.push(OutboxRecord { source_offset: record.offset, record: Arc::new(letter) });
        self.effects.counters.letters[failure.reason as usize] += 1;
        self.note("dead-lettered", item, who, failure);
        if let Some((processor, _)) = who.processor {
            self.effects.counters.processor(processor).dead_lettered += 1;
        }
        if let (Some(id), Some(envelope)) = (who.own_id(), who.envelope)
            && self.partition.engine.remembers
        {
            let print = identity::fingerprint(envelope);
            self.remember(queue, id, who.event_name, print, EventOutcome::DeadLettered);
        }
        self.release(item, queue);
        Flow::Free
    }

    /// Adds an event to the log.
    fn note(&mut self, outcome: &'static str, item: &Item, who: &Who<'_>, failure: &Failure<'_>) {
        self.effects.notables.add(|| Notable {
            outcome,
            offset: item.record().offset,
            event: who.event_name.to_owned(),
            event_id: who.event_id.unwrap_or_default().to_owned(),
            reason: failure.reason.as_str(),
            code: failure.code.clone(),
            message: failure.message.to_owned(),
        });
    }

    /// Dead-letters an event that must not run again. A repeat of a settled event is skipped, as in [`Batch::prepare`].
    pub(crate) fn refused(&mut self, item: &Item, queue: &[u8], forced: &ForcedDeadLetter) {
        let record = item.record();
        let envelope = decode::decode(&record).ok();
        let own_id = envelope.as_ref().and_then(|envelope| envelope.id.as_deref());
        let id = envelope.is_some().then(|| own_id.map_or_else(|| self.place_of(&record), ToOwned::to_owned));
        let name = envelope.as_ref().map_or("", |envelope| &envelope.name);
        let mut who = Who { event_name: name, event_id: id.as_deref(), envelope: envelope.as_ref(), ..Who::default() };
        match self.repeat(item, queue, &who) {
            Ok(Some(Repeat::Same)) => {
                self.effects.counters.skipped += 1;
                self.release(item, queue);
                return;
            }
            Ok(Some(Repeat::OtherContent)) => who.id_is_taken = true,
            Ok(None) | Err(_) => {}
        }
        let failure = Failure::of_event(forced.reason, forced.code.clone(), &forced.message);
        self.dead_letter(item, queue, &who, &failure);
    }

    /// Records the outcome of an event in the deduplication window of its key.
    fn remember(&mut self, queue: &[u8], id: &str, name: &str, print: Fingerprint, outcome: EventOutcome) {
        let at = self.now;
        if let Some(window) = self.effects.window_mut(&self.partition.window_key(queue)) {
            window.replace(&DedupEntry { id: id.into(), print, outcome, name, at });
        }
    }

    /// Removes the waiting row of an event, if it has one.
    pub(crate) fn release(&mut self, item: &Item, queue: &[u8]) {
        if item.row.is_some() {
            let offset = item.record().offset;
            self.effects.waiting.remove(&offset);
            self.effects.released.insert(offset, queue.into());
        }
    }
}

impl<'a> Failure<'a> {
    /// A failure of this event alone: not an outage.
    pub(crate) fn of_event(reason: Reason, code: impl Into<Cow<'static, str>>, message: &'a str) -> Self {
        Self { reason, code: code.into(), message, is_outage: false }
    }
}

impl Who<'_> {
    /// The id under which the event is remembered; `None` if it is unknown or belongs to another event.
    pub(super) fn own_id(&self) -> Option<&str> {
        self.event_id.filter(|_| !self.id_is_taken)
    }
}

fn who<'a>(delivery: &'a Delivery, processor: usize, entry: &'static ProcessorEntry) -> Who<'a> {
    Who {
        event_name: entry.event,
        event_id: Some(delivery.event_id()),
        envelope: Some(delivery.envelope()),
        id_is_taken: false,
        processor: Some((processor, entry.name)),
    }
}
