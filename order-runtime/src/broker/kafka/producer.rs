//! The publisher: sends records in order, and reports which ones the brokers have acknowledged.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, warn};

use super::{
    sender::{Answer, Sender, Talk},
    settings,
};
use crate::{
    broker::{Acknowledged, BrokerError, PublishError, Publisher},
    config::KafkaConfig,
    model::{OutgoingRecord, OutgoingRecords},
};

/// Publishes with an idempotent producer, which is replaced after a fatal error, or when it delivers nothing in time.
pub struct KafkaPublisher {
    config: KafkaConfig,
    /// Shared by all producers, so that an outage that outlasts several of them is logged once.
    talk: Talk,
    answer: Duration,
    sender: Mutex<Arc<Sender>>,
}

impl KafkaPublisher {
    /// Creates the producer, which connects in the background.
    ///
    /// # Errors
    /// When librdkafka rejects the properties.
    pub fn new(config: &KafkaConfig) -> Result<Arc<Self>, BrokerError> {
        let answer = settings::delivery_timeout(config);
        let talk = Talk::default();
        let sender = Mutex::new(Arc::new(Sender::start(config, &talk)?));
        Ok(Arc::new(Self { config: config.clone(), talk, answer, sender }))
    }

    /// The producer in use; a new one if the last had a fatal error.
    fn sender(&self) -> Arc<Sender> {
        let mut sender = self.sender.lock();
        if let Some((code, text)) = sender.fatal_error() {
            warn!(%code, text, "the producer has failed and is replaced");
            self.make_anew(&mut sender);
        }
        Arc::clone(&sender)
    }

    /// Replaces this producer, unless that was done already.
    fn replace(&self, stuck: &Arc<Sender>) {
        let mut sender = self.sender.lock();
        if Arc::ptr_eq(&sender, stuck) {
            debug!("records were not acknowledged in time; the producer is replaced");
            self.make_anew(&mut sender);
        }
    }

    fn make_anew(&self, sender: &mut Arc<Sender>) {
        match Sender::start(&self.config, &self.talk) {
            Ok(new) => *sender = Arc::new(new),
            Err(error) => warn!(%error, "failed to replace the producer"),
        }
    }

    /// Waits until all records in flight are answered, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let sender = Arc::clone(&self.sender.lock());
        let flushed = tokio::task::spawn_blocking(move || sender.flush(limit)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!(
                "not every record was acknowledged in time; the rest stays in the store and is published at the next start"
            );
        }
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, records: OutgoingRecords) -> Vec<Result<Acknowledged, PublishError>> {
        let sender = self.sender();
        let answers = sender.send(Arc::clone(&records)).gather(self.answer).await;
        if answers.iter().any(is_timed_out) {
            // The producer is dropped with all its records, so that none overtakes another one of its key. The usual cause is an
            // outage. But a client was also observed to stay disconnected for minutes after its brokers were available again.
            self.replace(&sender);
        }
        let answers = answers.into_iter().zip(&*records);
        let unreached = self.talk.unreached();
        let classified = |(answer, record): (Answer, &Arc<OutgoingRecord>)| {
            answer.map_err(|error| match classify(&error, &record.topic) {
                PublishError::Transient { topic, reason } => {
                    PublishError::Transient { topic, reason: unreached.clone().unwrap_or(reason) }
                }
                refused => refused,
            })
        };
        answers.map(classified).collect()
    }
}

fn is_timed_out(answer: &Answer) -> bool {
    matches!(answer, Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)))
}

fn classify(error: &KafkaError, topic: &str) -> PublishError {
    let topic = topic.to_owned();
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            PublishError::TooLarge { topic }
        }
        Some(
            RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidArgument,
        ) => PublishError::Invalid { topic, reason: error.to_string() },
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::InvalidTopic,
        ) => PublishError::Refused { topic, reason: error.to_string() },
        // These include the error that another record of the same batch is invalid.
        _ => PublishError::Transient { topic, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::sender::tests::{record, to_nobody},
        *,
    };

    #[tokio::test]
    async fn a_producer_that_delivers_nothing_is_replaced() {
        let publisher = KafkaPublisher::new(&to_nobody("100")).unwrap();
        let first = publisher.sender();
        let answers = publisher.publish([record()].into()).await;
        assert!(matches!(answers[..], [Err(PublishError::Transient { .. })]), "{answers:?}");
        assert!(!Arc::ptr_eq(&first, &publisher.sender()));
    }

    #[test]
    fn errors_say_whether_to_try_again() {
        let of = |code| classify(&KafkaError::MessageProduction(code), "t");
        assert!(matches!(of(RDKafkaErrorCode::MessageSizeTooLarge), PublishError::TooLarge { .. }));
        assert!(matches!(of(RDKafkaErrorCode::TopicAuthorizationFailed), PublishError::Refused { .. }));
        assert!(matches!(of(RDKafkaErrorCode::MessageTimedOut), PublishError::Transient { .. }));
        assert!(matches!(of(RDKafkaErrorCode::InvalidRecord), PublishError::Invalid { .. }));
        assert!(matches!(of(RDKafkaErrorCode::InvalidDifferentRecord), PublishError::Transient { .. }));
    }
}
