//! The producer: records leave in order, and an answer says which the brokers have.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::OwnedHeaders,
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer},
};
use tracing::{debug, warn};

use super::{ffi, settings, voice::Voice};
use crate::{
    broker::{Acknowledged, BrokerError, OutgoingRecord, PublishError, Publisher},
    config::KafkaConfig,
};

/// How long a full queue is waited for.
const QUEUE_FULL: Duration = Duration::from_secs(30);
/// How much longer than the client's own limit an answer is waited for: that limit is not exact.
const GRACE: Duration = Duration::from_secs(10);

/// Publishes with an idempotent producer, which is made anew when it has failed for good.
pub struct KafkaPublisher {
    config: KafkaConfig,
    answer: Duration,
    producer: Mutex<FutureProducer<Talk>>,
}

#[derive(Clone, Default)]
struct Talk(Arc<Voice>);

impl ClientContext for Talk {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.0.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "librdkafka tells of an error");
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl KafkaPublisher {
    /// Makes the producer; it connects by itself.
    ///
    /// # Errors
    /// When librdkafka does not take the properties.
    pub fn new(config: &KafkaConfig) -> Result<Arc<Self>, BrokerError> {
        let answer = settings::delivery_timeout(config) + GRACE;
        Ok(Arc::new(Self { config: config.clone(), answer, producer: Mutex::new(make(config)?) }))
    }

    /// The producer that is in use; a new one where the last has failed for good.
    fn producer(&self) -> FutureProducer<Talk> {
        let mut producer = self.producer.lock();
        if let Some((code, text)) = producer.client().fatal_error() {
            warn!(%code, text, "the producer has failed and is made anew");
            match make(&self.config) {
                Ok(new) => *producer = new,
                Err(error) => warn!(%error, "the producer cannot be made anew"),
            }
        }
        producer.clone()
    }

    /// Waits until what is under way is answered, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let producer = self.producer.lock().clone();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(limit)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!(
                "not every record was acknowledged in time; those lie in the store and are published at the next start"
            );
        }
    }
}

fn make(config: &KafkaConfig) -> Result<FutureProducer<Talk>, BrokerError> {
    settings::producer(config)
        .create_with_context(Talk::default())
        .map_err(|error| BrokerError::creation(&error, config))
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, records: Vec<OutgoingRecord>) -> Vec<Result<Acknowledged, PublishError>> {
        let producer = self.producer();
        // All are queued before the first is awaited, so that they travel together; the queue keeps their order.
        let mut sent = Vec::with_capacity(records.len());
        for record in &records {
            sent.push(queue(&producer, record).await);
        }
        let answers = sent.into_iter().zip(&records).map(|(sent, record)| async move {
            let error = match sent {
                Ok(delivery) => match tokio::time::timeout(self.answer, delivery).await {
                    Ok(Ok(Ok(delivery))) => {
                        return Ok(Acknowledged { partition: delivery.partition, offset: delivery.offset });
                    }
                    Ok(Ok(Err((error, _)))) => error,
                    // The producer was dropped, or does not answer: the record may have been written.
                    Ok(Err(_)) | Err(_) => KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut),
                },
                Err(error) => error,
            };
            Err(classify(&error, &record.topic))
        });
        join_all(answers).await
    }
}

/// Hands a record to the client, waiting for space in its queue.
async fn queue(producer: &FutureProducer<Talk>, record: &OutgoingRecord) -> Result<DeliveryFuture, KafkaError> {
    let mut outgoing: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&record.topic);
    outgoing.partition = record.partition;
    outgoing.key = record.key.as_deref();
    outgoing.payload = record.payload.as_deref();
    outgoing.timestamp = record.timestamp.filter(|timestamp| *timestamp >= 0);
    outgoing.headers = (!record.headers.is_empty()).then(|| headers(&record.headers));
    let deadline = tokio::time::Instant::now() + QUEUE_FULL;
    loop {
        match producer.send_result(outgoing) {
            Ok(delivery) => return Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                if tokio::time::Instant::now() < deadline =>
            {
                outgoing = again;
                // The client has no way to tell of space.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

fn headers(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> OwnedHeaders {
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for (name, value) in headers {
        ffi::add_header(&mut owned, name, value.as_deref());
    }
    owned
}

fn classify(error: &KafkaError, topic: &str) -> PublishError {
    let topic = topic.to_owned();
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            PublishError::TooLarge { topic }
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidArgument,
        ) => PublishError::Refused { topic, reason: error.to_string() },
        _ => PublishError::Transient { topic, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_whether_to_try_again() {
        let of = |code| classify(&KafkaError::MessageProduction(code), "t");
        assert!(matches!(of(RDKafkaErrorCode::MessageSizeTooLarge), PublishError::TooLarge { .. }));
        assert!(matches!(of(RDKafkaErrorCode::TopicAuthorizationFailed), PublishError::Refused { .. }));
        assert!(matches!(of(RDKafkaErrorCode::MessageTimedOut), PublishError::Transient { .. }));
    }
}
