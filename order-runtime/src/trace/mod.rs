//! Traces: one for each event, from its producer over every attempt to what it became.
//!
//! | module | the question it answers |
//! |---|---|
//! | `context` | how does a context travel in the headers of a record? |
//! | `attempt` | where in its trace is an attempt at an event? |
//! | `span` | what does a span say? |
//!
//! The context that an event was created with is the parent of each attempt and linked by it; where its producer gave none,
//! the first attempt takes that place. Ids of a trace without a producer and of first attempts follow from the place of the
//! record, so that attempts find each other over days and restarts and nothing about traces is stored.

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

/// Decides what is traced, and hands ended spans to the exporter's queue. A queue that is full drops them.
pub(crate) struct Tracer {
    /// The domain's name, in front of attributes of ours.
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

    /// Exports what is left, at most for `limit`; blocks the thread.
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
