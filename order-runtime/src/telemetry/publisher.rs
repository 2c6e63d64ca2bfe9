//! A publisher that is observed: every record that leaves the service passes here.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use tokio::time::Instant;

use super::metrics::Metrics;
use crate::broker::{Acknowledged, OutgoingRecord, PublishError, Publisher};

/// Publishes by another publisher, and counts what it sends.
pub(crate) struct ObservedPublisher {
    inner: Arc<dyn Publisher>,
    metrics: Arc<Metrics>,
}

impl ObservedPublisher {
    pub(crate) fn new(inner: Arc<dyn Publisher>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { inner, metrics })
    }
}

#[async_trait]
impl Publisher for ObservedPublisher {
    async fn publish(&self, records: Vec<OutgoingRecord>) -> Vec<Result<Acknowledged, PublishError>> {
        let topics: Vec<String> = records.iter().map(|record| record.topic.clone()).collect();
        let begun = Instant::now();
        let results = self.inner.publish(records).await;
        let elapsed = begun.elapsed();
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for (topic, result) in topics.iter().zip(&results) {
            *counts.entry((topic, result.as_ref().err().map(error_type))).or_default() += 1;
        }
        for ((topic, error), count) in counts {
            self.metrics.sent(topic, error, count, elapsed);
        }
        results
    }
}

/// What went wrong, by a word of a fixed list.
fn error_type(error: &PublishError) -> &'static str {
    match error {
        PublishError::TooLarge { .. } => "too_large",
        PublishError::Transient { .. } => "transient",
        PublishError::Refused { .. } => "refused",
    }
}
