//! Traces: one for each event, from its producer through every attempt to its outcome.
//!
//! | module | the question it answers |
//! |---|---|
//! | `context` | how does a context travel in the headers of a record? |
//! | `attempt` | how is an attempt placed in the trace of its event? |
//! | `span` | what is the name of a span, and which attributes does it have? |
//!
//! The context that an event was created with is the parent of each attempt, and each attempt links to it. If the producer gave
//! none, the first attempt takes its place. The ids of first attempts, and of traces without a producer's context, are derived
//! from the record's partition and offset. So attempts refer to each other over days and restarts, and nothing about traces is
//! stored.

mod attempt;
mod context;
mod span;

use std::fmt;

use opentelemetry::{
    Context, InstrumentationScope,
    trace::{SpanContext, SpanKind, TraceContextExt as _, TraceId},
};
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SamplingDecision, ShouldSample as _, SpanData, SpanProcessor as _,
};

pub(crate) use attempt::{AttemptSpan, Traced};
pub(crate) use context::{add as add_context, is_context, of_http, of_outgoing, of_record, replace};
pub(crate) use span::{AttemptEnd, Send};

/// Decides which traces are exported, and hands ended spans to the exporter's queue. A full queue drops them.
pub(crate) struct Tracer {
    /// The domain's name, the prefix of our own attributes.
    prefix: &'static str,
    /// The consumer group.
    group: String,
    sampler: Sampler,
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Tracer {
    pub(crate) fn new(prefix: &'static str, group: &str, sampler: Sampler, processor: BatchSpanProcessor) -> Self {
        let scope =
            InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build();
        Self { prefix, group: group.to_owned(), sampler, processor, scope }
    }

    /// Hands over spans that have ended; returns at once.
    pub(crate) fn export(&self, spans: Vec<SpanData>) {
        for span in spans {
            self.processor.on_end(span);
        }
    }

    /// Exports the remaining spans, for at most `limit`; blocks the thread. Returns whether that succeeded.
    pub(crate) fn shutdown(&self, limit: std::time::Duration) -> bool {
        self.processor.shutdown_with_timeout(limit).is_ok()
    }

    /// Whether a span below `parent` is exported.
    fn samples(&self, parent: Option<&SpanContext>, trace: TraceId, name: &str, kind: &SpanKind) -> bool {
        let parent = parent.map(|parent| Context::new().with_remote_span_context(parent.clone()));
        let result = self.sampler.should_sample(parent.as_ref(), trace, name, kind, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("sampler", &self.sampler).finish_non_exhaustive()
    }
}
