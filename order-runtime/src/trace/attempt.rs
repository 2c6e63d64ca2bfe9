//! Where in its trace an attempt at an event is.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::{Tracer, context, span};
use crate::model::{PartitionId, RecordRef};

/// What a delivery knows of its trace before anything has happened; there is none where no traces are exported.
#[derive(Debug, Clone)]
pub(crate) struct Traced {
    pub(crate) tracer: Arc<Tracer>,
    /// When the attempt began.
    pub(crate) begun: SystemTime,
    /// The event has not failed before.
    pub(crate) is_first: bool,
}

impl Traced {
    /// An attempt begins now.
    pub(crate) fn begin(tracer: &Arc<Tracer>, is_first: bool) -> Self {
        Self { tracer: Arc::clone(tracer), begun: SystemTime::now(), is_first }
    }

    /// Where the attempt at this record is.
    pub(crate) fn attempt(&self, partition: &PartitionId, record: &RecordRef<'_>) -> AttemptSpan {
        AttemptSpan::at(self, partition, record)
    }
}

/// An attempt in its trace.
#[derive(Debug, Clone)]
pub(crate) struct AttemptSpan {
    /// Its own context.
    pub(crate) own: SpanContext,
    /// The context that the event was created with, where its producer gave one.
    pub(super) created: Option<SpanContext>,
    /// The context of the first attempt; its own, where it is the first.
    pub(super) first: SpanContext,
}

impl AttemptSpan {
    fn at(traced: &Traced, partition: &PartitionId, record: &RecordRef<'_>) -> Self {
        let created = context::of_record(record);
        let place = place(partition, record.offset);
        let trace = created
            .as_ref()
            .map_or_else(|| TraceId::from_bytes(xxh3_128(&place).max(1).to_be_bytes()), SpanContext::trace_id);
        let name = span::process_name(partition);
        let sampled = traced.tracer.samples(created.as_ref(), trace, &name, &SpanKind::Consumer);
        let flags = TraceFlags::default().with_sampled(sampled);
        let state = created.as_ref().map_or_else(TraceState::default, |created| created.trace_state().clone());
        let context = |id: SpanId| SpanContext::new(trace, id, flags, false, state.clone());
        let first = context(span_id(trace, &place, None));
        let own = if traced.is_first { first.clone() } else { context(span_id(trace, &place, Some(traced.begun))) };
        Self { own, created, first }
    }

    pub(super) fn is_first(&self) -> bool {
        self.own.span_id() == self.first.span_id()
    }

    /// The context that stands at the beginning of the event's trace.
    pub(crate) fn origin(&self) -> &SpanContext {
        self.created.as_ref().unwrap_or(&self.first)
    }
}

/// The bytes that name a record, wherever it is looked at.
fn place(partition: &PartitionId, offset: i64) -> Vec<u8> {
    let mut place = Vec::with_capacity(128);
    for part in [partition.cluster.as_bytes(), partition.topic_id.as_bytes(), partition.topic.as_bytes()] {
        place.extend_from_slice(part);
        place.push(0);
    }
    place.extend_from_slice(&partition.partition.to_be_bytes());
    place.extend_from_slice(&offset.to_be_bytes());
    place
}

/// The id of the attempt that began then; of the first one, which can be told without knowing when it was, without a time.
fn span_id(trace: TraceId, place: &[u8], begun: Option<SystemTime>) -> SpanId {
    let mut hash = Xxh3Default::new();
    hash.update(&trace.to_bytes());
    hash.update(place);
    if let Some(begun) = begun {
        let since = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        hash.update(&since.as_nanos().to_be_bytes());
    }
    // Zero is no id.
    SpanId::from_bytes(hash.digest().max(1).to_be_bytes())
}
