//! The span context of an attempt within the trace of its event.

use std::{sync::Arc, time::SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::{Tracer, context, span};
use crate::model::{PartitionId, RecordRef};

/// The trace data of a delivery before its processor runs; only deliveries whose traces are exported have it.
#[derive(Debug, Clone)]
pub(crate) struct Traced {
    pub(crate) tracer: Arc<Tracer>,
    /// When the attempt began.
    pub(crate) begun: SystemTime,
    /// Whether the event has not failed before.
    pub(crate) is_first: bool,
}

impl Traced {
    /// Starts an attempt now.
    pub(crate) fn begin(tracer: &Arc<Tracer>, is_first: bool) -> Self {
        Self { tracer: Arc::clone(tracer), begun: SystemTime::now(), is_first }
    }

    /// The span context of the attempt at this record.
    pub(crate) fn attempt(&self, partition: &PartitionId, record: &RecordRef<'_>) -> AttemptSpan {
        AttemptSpan::at(self, partition, record)
    }
}

/// The span context of an attempt, and the contexts that it refers to.
#[derive(Debug, Clone)]
pub(crate) struct AttemptSpan {
    /// The context of this attempt.
    pub(crate) own: SpanContext,
    /// The context that the event was created with, if its producer gave one.
    pub(super) created: Option<SpanContext>,
    /// The context of the first attempt; equal to `own` if this is the first.
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

    /// The context at the beginning of the event's trace.
    pub(crate) fn origin(&self) -> &SpanContext {
        self.created.as_ref().unwrap_or(&self.first)
    }
}

/// Bytes that identify a record, the same in every process.
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

/// The span id of the attempt that began at that time. `None` is for the first attempt, whose id later attempts derive without
/// its time.
fn span_id(trace: TraceId, place: &[u8], begun: Option<SystemTime>) -> SpanId {
    let mut hash = Xxh3Default::new();
    hash.update(&trace.to_bytes());
    hash.update(place);
    if let Some(begun) = begun {
        let since = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        hash.update(&since.as_nanos().to_be_bytes());
    }
    // Zero is not a valid id.
    SpanId::from_bytes(hash.digest().max(1).to_be_bytes())
}
