//! The spans of a batch: one for each attempt, and one for each event that was dead-lettered without an attempt.
//!
//! Spans are exported after their batch is committed, so a trace contains no attempt that was rolled back. Without an
//! exporter, no spans are created.

use std::{borrow::Cow, time::SystemTime};

use super::{
    Batch, Flow,
    attempt::{End, EndedAttempt, Item},
};
use crate::{
    dispatch::{Class, Delivery, FailedAttempt, Outcome},
    model::{OutgoingRecord, cut},
    store::WaitingState,
    trace::{self, AttemptEnd, AttemptSpan, Traced},
};

/// The maximum length of a failure's text in a span, in bytes.
const TEXT_LIMIT: usize = 256;

/// The span of an ended attempt whose outcome is not decided yet.
pub(super) struct OpenSpan {
    delivery: Delivery,
    traced: Traced,
    attempt: AttemptSpan,
    error: Option<(String, String)>,
    is_skip: bool,
    processor: usize,
    /// The number of dead letters in the batch before this attempt is settled.
    letters: usize,
}

impl Batch<'_> {
    /// Collects the data for the span of an attempt; `None` if no traces are exported.
    pub(super) fn open_span(&self, ended: &EndedAttempt) -> Option<Box<OpenSpan>> {
        let delivery = &ended.delivery;
        let traced = delivery.traced()?.clone();
        let attempt = delivery.in_trace()?;
        let is_skip = matches!(&ended.end, End::Returned(Outcome::Failed(FailedAttempt { class: Class::Skip, .. })));
        Some(Box::new(OpenSpan {
            delivery: delivery.clone(),
            traced,
            attempt,
            error: error_of(&ended.end),
            is_skip,
            processor: ended.processor,
            letters: self.effects.dead_letters.len(),
        }))
    }

    /// Completes the span with the outcome of the attempt's event.
    pub(super) fn close_span(&mut self, span: &OpenSpan, flow: Flow) {
        let OpenSpan { delivery, traced, attempt, error, .. } = span;
        let offset = delivery.record().offset;
        let outcome = if self.effects.dead_letters.len() > span.letters {
            "dead_lettered"
        } else {
            match flow {
                Flow::Free if span.is_skip => "skipped",
                Flow::Free => "ok",
                Flow::Waits if self.holds(offset) => "held",
                Flow::Waits | Flow::Running => "retried",
            }
        };
        let processors = self.partition.engine.registry.processors();
        let ended = AttemptEnd {
            partition: delivery.partition(),
            offset,
            event: delivery.event_name(),
            event_id: delivery.event_id(),
            processor: processors.get(span.processor).map(|entry| entry.name),
            attempt: delivery.attempt(),
            outcome,
            error: error.as_ref().map(|(code, text)| (Cow::Borrowed(code.as_str()), cut(text, TEXT_LIMIT).into())),
            begun: traced.begun,
        };
        self.effects.spans.extend(traced.tracer.ended(attempt, ended));
    }

    fn holds(&self, offset: i64) -> bool {
        self.effects.waiting.get(&offset).is_some_and(|row| matches!(row.state, WaitingState::Held(_)))
    }

    /// Adds the trace context of an event to its dead letter, so that a replay continues the trace. Context headers from the
    /// producer are kept unchanged. If no processor was called, a span for the dead letter itself is added, because the trace
    /// would show nothing else.
    pub(super) fn trace_dead_letter(
        &mut self,
        letter: &mut OutgoingRecord,
        item: &Item,
        (event, event_id, was_called): (&str, &str, bool),
        (code, message): (&str, &str),
    ) {
        let Some(tracer) = &self.partition.engine.tracer else { return };
        let traced = Traced::begin(tracer, item.first_failed_at.is_none());
        let attempt = traced.attempt(&self.partition.id, &item.record());
        if !letter.headers.iter().any(|(name, _)| trace::is_context(name)) {
            trace::add_context(attempt.origin(), &mut letter.headers);
        }
        if was_called {
            return;
        }
        let ended = AttemptEnd {
            partition: &self.partition.id,
            offset: item.record().offset,
            event: cut(event, TEXT_LIMIT),
            event_id,
            processor: None,
            attempt: item.attempts + 1,
            outcome: "dead_lettered",
            error: Some((code.into(), cut(message, TEXT_LIMIT).into())),
            begun: SystemTime::now(),
        };
        let span = tracer.ended(&attempt, ended);
        self.effects.spans.extend(span);
    }
}

/// The code and the text of a failure for a span.
fn error_of(end: &End) -> Option<(String, String)> {
    match end {
        End::Returned(Outcome::Done | Outcome::Failed(FailedAttempt { class: Class::Skip, .. })) => None,
        End::Returned(Outcome::Invalid(invalid)) => Some(("invalid_data".to_owned(), invalid.to_string())),
        End::Returned(Outcome::Failed(failed)) => Some((failed.code.clone().into_owned(), failed.message.clone())),
        End::Panicked(message) => Some(("panic".to_owned(), message.clone())),
        End::LookupFailed(failure) => Some((failure.code().to_owned(), failure.message())),
        End::TimedOut(_) => Some(("timeout".to_owned(), "the processor did not return in time".to_owned())),
    }
}
