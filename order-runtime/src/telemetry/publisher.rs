//! Counts and traces every record that the service publishes.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use tokio::time::Instant;

use super::metrics::Metrics;
use crate::{
    broker::{Acknowledged, PublishError, Publisher},
    model::{OutgoingRecord, OutgoingRecords},
    trace::{self, Tracer},
};

/// Publishes through another publisher, counts the records, and continues their traces.
pub(crate) struct ObservedPublisher {
    inner: Arc<dyn Publisher>,
    metrics: Arc<Metrics>,
    tracer: Option<Arc<Tracer>>,
}

impl ObservedPublisher {
    pub(crate) fn new(inner: Arc<dyn Publisher>, metrics: Arc<Metrics>, tracer: Option<Arc<Tracer>>) -> Arc<Self> {
        Arc::new(Self { inner, metrics, tracer })
    }

    /// Begins the span of a record. A new record gets the context of this span. A dead letter and its replay were created
    /// earlier, so they keep their headers.
    fn begin(tracer: &Tracer, record: &Arc<OutgoingRecord>) -> (trace::Send, Arc<OutgoingRecord>) {
        let send = tracer.send(&record.topic, trace::of_outgoing(record));
        let mut record = Arc::clone(record);
        if !record.headers.iter().any(|(name, _)| name == b"dlq-id") {
            trace::replace(Arc::make_mut(&mut record), &send.own);
        }
        (send, record)
    }

    /// Publishes records; returns the started spans, if traces are exported, and the results.
    async fn send(&self, records: OutgoingRecords) -> (Vec<trace::Send>, Vec<Result<Acknowledged, PublishError>>) {
        let Some(tracer) = &self.tracer else { return (Vec::new(), self.inner.publish(records).await) };
        let (sends, traced): (Vec<_>, Vec<_>) = records.iter().map(|record| Self::begin(tracer, record)).unzip();
        (sends, self.inner.publish(traced.into()).await)
    }

    fn end(&self, sends: Vec<trace::Send>, results: &[Result<Acknowledged, PublishError>]) {
        let Some(tracer) = &self.tracer else { return };
        let spans = sends.into_iter().zip(results);
        let ended = spans.filter_map(|(send, result)| tracer.sent(send, result, result.as_ref().err().map(error_type)));
        tracer.export(ended.collect());
    }
}

#[async_trait]
impl Publisher for ObservedPublisher {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        let begun = Instant::now();
        let (sends, results) = self.send(Arc::clone(&records)).await;
        let elapsed = begun.elapsed();
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for (record, result) in records.iter().zip(&results) {
            *counts.entry((&*record.topic, result.as_ref().err().map(error_type))).or_default() += 1;
        }
        for ((topic, error), count) in counts {
            self.metrics.sent(topic, error, count, elapsed);
        }
        self.end(sends, &results);
        results
    }
}

/// The kind of an error, from a fixed list.
fn error_type(error: &PublishError) -> &'static str {
    match error {
        PublishError::TooLarge { .. } => "too_large",
        PublishError::Transient { .. } => "transient",
        PublishError::Refused { .. } => "refused",
        PublishError::Invalid { .. } => "invalid",
    }
}
