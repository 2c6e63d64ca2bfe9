//! Names and attributes of spans, by <https://opentelemetry.io/docs/specs/semconv/messaging/kafka/>. Spans have no payload and
//! no key, because these may be personal data.

use std::{borrow::Cow, time::SystemTime};

use opentelemetry::{
    KeyValue, Value,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{AttemptSpan, Tracer};
use crate::{
    broker::{Acknowledged, PublishError},
    model::PartitionId,
};

/// How an attempt ended.
pub(crate) struct AttemptEnd<'a> {
    pub(crate) partition: &'a PartitionId,
    pub(crate) offset: i64,
    pub(crate) event: &'a str,
    pub(crate) event_id: &'a str,
    /// The function that was called; `None` if no processor was called.
    pub(crate) processor: Option<&'static str>,
    /// The number of the attempt, from 1.
    pub(crate) attempt: u32,
    /// The outcome of the event.
    pub(crate) outcome: &'static str,
    /// The code and the text of its failure.
    pub(crate) error: Option<(Cow<'a, str>, Cow<'a, str>)>,
    pub(crate) begun: SystemTime,
}

/// A record that is being sent.
pub(crate) struct Send {
    parent: Option<SpanContext>,
    pub(crate) own: SpanContext,
    begun: SystemTime,
    topic: String,
}

/// The name of the span of an attempt.
pub(super) fn process_name(partition: &PartitionId) -> String {
    format!("process {}", partition.topic)
}

fn send_name(topic: &str) -> String {
    format!("send {topic}")
}

impl Tracer {
    /// The span of an attempt that ends now; `None` if its trace is not exported.
    pub(crate) fn ended(&self, attempt: &AttemptSpan, end: AttemptEnd<'_>) -> Option<SpanData> {
        if !attempt.own.is_sampled() {
            return None;
        }
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", Value::from(end.partition.topic.to_string())),
            KeyValue::new("messaging.destination.partition.id", end.partition.partition.to_string()),
            KeyValue::new("messaging.kafka.offset", end.offset),
            KeyValue::new("messaging.consumer.group.name", self.group.clone()),
            KeyValue::new("messaging.message.id", end.event_id.to_owned()),
            KeyValue::new(self.own("event"), end.event.to_owned()),
            KeyValue::new(self.own("attempt"), i64::from(end.attempt)),
            KeyValue::new(self.own("outcome"), end.outcome),
        ];
        attributes.extend(end.processor.map(|name| KeyValue::new("code.function.name", name)));
        let status = match end.error {
            Some((code, message)) => {
                attributes.push(KeyValue::new("error.type", code.into_owned()));
                Status::error(message.into_owned())
            }
            None => Status::Unset,
        };
        // The first attempt of an event without a producer's context begins the trace.
        let parent = if attempt.is_first() { attempt.created.as_ref() } else { Some(attempt.origin()) };
        let mut links: Vec<&SpanContext> = attempt.created.iter().collect();
        if !attempt.is_first() {
            links.push(&attempt.first);
        }
        Some(SpanData {
            name: process_name(end.partition).into(),
            span_kind: SpanKind::Consumer,
            start_time: end.begun,
            attributes,
            status,
            links: linked(links),
            ..self.bare(&attempt.own, parent)
        })
    }

    /// Starts the span of a record that is sent, as a child of the context that the record carries.
    pub(crate) fn send(&self, topic: &str, parent: Option<SpanContext>) -> Send {
        let trace = parent
            .as_ref()
            .map_or_else(|| TraceId::from_bytes(rand::random::<u128>().max(1).to_be_bytes()), SpanContext::trace_id);
        let sampled = self.samples(parent.as_ref(), trace, &send_name(topic), &SpanKind::Producer);
        let state = parent.as_ref().map_or_else(TraceState::default, |parent| parent.trace_state().clone());
        let id = SpanId::from_bytes(rand::random::<u64>().max(1).to_be_bytes());
        let own = SpanContext::new(trace, id, TraceFlags::default().with_sampled(sampled), false, state);
        Send { parent, own, begun: SystemTime::now(), topic: topic.to_owned() }
    }

    /// The span of a record after the broker's answer; it ends now. `None` if its trace is not exported.
    pub(crate) fn sent(
        &self,
        send: Send,
        result: &Result<Acknowledged, PublishError>,
        error_type: Option<&'static str>,
    ) -> Option<SpanData> {
        if !send.own.is_sampled() {
            return None;
        }
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", "send"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.destination.name", send.topic.clone()),
        ];
        let status = match result {
            Ok(place) => {
                attributes.push(KeyValue::new("messaging.destination.partition.id", place.partition.to_string()));
                attributes.push(KeyValue::new("messaging.kafka.offset", place.offset));
                Status::Unset
            }
            Err(error) => {
                attributes.extend(error_type.map(|kind| KeyValue::new("error.type", kind)));
                Status::error(error.to_string())
            }
        };
        Some(SpanData {
            name: send_name(&send.topic).into(),
            span_kind: SpanKind::Producer,
            start_time: send.begun,
            attributes,
            status,
            ..self.bare(&send.own, send.parent.as_ref())
        })
    }

    /// The name of one of our own attributes.
    fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A span that ends now, without name and attributes.
    fn bare(&self, own: &SpanContext, parent: Option<&SpanContext>) -> SpanData {
        let now = SystemTime::now();
        SpanData {
            span_context: own.clone(),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanContext::span_id),
            parent_span_is_remote: parent.is_some_and(SpanContext::is_remote),
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed(""),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn linked(contexts: Vec<&SpanContext>) -> SpanLinks {
    let mut links = SpanLinks::default();
    links.links = contexts.into_iter().cloned().map(Link::with_context).collect();
    links
}
