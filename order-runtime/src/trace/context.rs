//! The context of a trace in headers, as <https://www.w3.org/TR/trace-context/> writes it: `traceparent`, `tracestate`.

use axum::http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::model::{HeaderBlock, OutgoingRecord, RecordRef};

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";
/// Longer headers are ignored; the recommendation asks for at least 512 bytes.
const LONGEST: usize = 4096;

/// The two headers, if they are text.
#[derive(Default)]
struct Found<'a> {
    parent: Option<&'a str>,
    state: Option<&'a str>,
}

impl Extractor for Found<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            PARENT => self.parent,
            STATE => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT, STATE]
    }
}

impl Found<'_> {
    /// The context; `None` if the headers have no valid one.
    fn context(&self) -> Option<SpanContext> {
        self.parent?;
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), self);
        let found = context.span().span_context().clone();
        found.is_valid().then_some(found)
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|value| value.len() <= LONGEST)
}

/// The context that a record came with.
pub(crate) fn of_record(record: &RecordRef<'_>) -> Option<SpanContext> {
    let parent = record.header(PARENT).and_then(text);
    Found { parent, state: record.header(STATE).and_then(text) }.context()
}

/// The context that a record leaves with.
pub(crate) fn of_outgoing(record: &OutgoingRecord) -> Option<SpanContext> {
    let last = |name: &str| record.headers.get(name).and_then(text);
    Found { parent: last(PARENT), state: last(STATE) }.context()
}

/// The context that a request came with.
pub(crate) fn of_http(headers: &HeaderMap) -> Option<SpanContext> {
    let first = |name: &str| headers.get(name).and_then(|value| text(value.as_bytes()));
    Found { parent: first(PARENT), state: first(STATE) }.context()
}

/// Whether a header is one of the two.
pub(crate) fn is_context(name: &[u8]) -> bool {
    name == PARENT.as_bytes() || name == STATE.as_bytes()
}

/// Adds the headers of this context.
pub(crate) fn add(context: &SpanContext, headers: &mut HeaderBlock) {
    struct Written<'a>(&'a mut HeaderBlock);
    impl Injector for Written<'_> {
        fn set(&mut self, key: &str, value: String) {
            if !value.is_empty() {
                self.0.push(key, Some(value.as_bytes()));
            }
        }
    }
    let mut written = Written(headers);
    let context = Context::new().with_remote_span_context(context.clone());
    TraceContextPropagator::new().inject_context(&context, &mut written);
}

/// Replaces the context in the headers of a record.
pub(crate) fn replace(record: &mut OutgoingRecord, context: &SpanContext) {
    record.headers.retain(|name| !is_context(name));
    add(context, &mut record.headers);
}

#[cfg(test)]
mod tests {
    use crate::model::RecordBatch;
    use crate::trace::context::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn found(parent: &[u8], state: &[u8]) -> Option<SpanContext> {
        let mut batch = RecordBatch::default();
        batch.push(0, None, None, None, [(PARENT.as_bytes(), Some(parent)), (STATE.as_bytes(), Some(state))]);
        of_record(&batch.get(0).expect("one record"))
    }

    #[test]
    fn a_written_context_is_read_back() {
        let context = found(VALID.as_bytes(), b"vendor=1,other=2").expect("it is valid");
        let mut headers = HeaderBlock::default();
        add(&context, &mut headers);
        let both = [(PARENT.as_bytes(), Some(VALID.as_bytes())), (STATE.as_bytes(), Some(b"vendor=1,other=2"))];
        assert!(headers.iter().eq(both), "{headers:?}");
    }

    #[test]
    fn damaged_contexts_are_none() {
        let too_long = format!("{VALID}-{}", "x".repeat(LONGEST));
        let zero = VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        for damaged in ["", "00", "garbage", "zz-1-2-3", &VALID.to_uppercase(), &too_long, &zero] {
            assert_eq!(found(damaged.as_bytes(), b""), None, "{damaged}");
        }
        assert_eq!(found(b"\xff\xfe", b""), None);
        assert!(found(VALID.as_bytes(), b"\xff").is_some(), "a damaged tracestate does not invalidate the traceparent");
    }
}
