//! Sends records in batches, at a limited rate.

use std::{sync::Arc, time::Duration};

use crate::{
    broker::{Acknowledged, PublishError, Publisher},
    dead_letters::Pace,
    model::OutgoingRecord,
};

/// Maximum number of records in a batch.
const BATCH: usize = 2_000;
/// Minimum time between two batches if there is a rate.
const TICK: Duration = Duration::from_millis(20);

/// Sends records in the order of calls.
pub(in crate::cli) struct EventSender {
    publisher: Arc<dyn Publisher>,
    waiting: Vec<Arc<OutgoingRecord>>,
    batch: usize,
    pace: Pace,
}

impl EventSender {
    /// Sends by `publisher`, at most `rate` events a second.
    pub(in crate::cli) fn new(publisher: Arc<dyn Publisher>, rate: Option<f64>) -> Self {
        let pace = Pace::new(rate);
        Self { publisher, waiting: Vec::new(), batch: pace.batch(TICK, BATCH), pace }
    }

    /// Sends one record and waits for its acknowledgement.
    pub(in crate::cli) async fn send_one(&mut self, record: OutgoingRecord) -> Result<Acknowledged, PublishError> {
        let topic = record.topic.to_string();
        let results = self.publisher.publish([Arc::new(record)].into()).await;
        let nothing = || Err(PublishError::Transient { topic, reason: "no answer".to_owned() });
        results.into_iter().next().unwrap_or_else(nothing)
    }

    /// Adds a record to the batch, and sends the batch when it is full.
    pub(in crate::cli) async fn send(&mut self, record: OutgoingRecord) -> Result<(), PublishError> {
        self.waiting.push(Arc::new(record));
        if self.waiting.len() >= self.batch { self.flush().await } else { Ok(()) }
    }

    /// Sends the rest of the batch; returns how many records were sent in total.
    pub(in crate::cli) async fn finish(mut self) -> Result<u64, PublishError> {
        self.flush().await?;
        Ok(self.pace.total())
    }

    async fn flush(&mut self) -> Result<(), PublishError> {
        let records = std::mem::take(&mut self.waiting);
        let count = records.len() as u64;
        for result in self.publisher.publish(records.into()).await {
            result?;
        }
        self.pace.sent(count).await;
        Ok(())
    }
}
