//! The producer: records leave in order, and an answer says which the brokers have.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Message as _,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, OwnedHeaders},
    producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::{ffi, settings, voice::Voice};
use crate::{
    broker::{Acknowledged, BrokerError, HeaderBlock, OutgoingRecord, PublishError, Publisher},
    config::KafkaConfig,
};

/// How long a full queue is waited for.
const QUEUE_FULL: Duration = Duration::from_secs(30);
/// How much longer than the client's own limit an answer is waited for: that limit is not exact.
const GRACE: Duration = Duration::from_secs(10);

/// Publishes with an idempotent producer, which is made anew when it has failed for good or brings nothing to the brokers.
pub struct KafkaPublisher {
    config: KafkaConfig,
    /// One for all producers, so that an outage that outlasts several is told once.
    talk: Talk,
    answer: Duration,
    producer: Mutex<Arc<ThreadedProducer<Talk>>>,
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

impl ProducerContext<NoCustomPartitioner> for Talk {
    type DeliveryOpaque = Box<Place>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<Place>) {
        place.answers.set(
            place.index,
            match result {
                Ok(message) => Ok(Acknowledged { partition: message.partition(), offset: message.offset() }),
                Err((error, _)) => Err(error.clone()),
            },
        );
    }
}

type Answer = Result<Acknowledged, KafkaError>;

/// The answers for the records of one call, as they come.
///
/// One of these wakes the caller once; a future and a timer for each record would cost more than the record does.
struct Answers {
    state: Mutex<Gathered>,
    all: Notify,
}

struct Gathered {
    answers: Vec<Option<Answer>>,
    missing: usize,
}

/// Which record an answer is for.
struct Place {
    answers: Arc<Answers>,
    index: usize,
}

impl Answers {
    fn of(records: usize) -> Arc<Self> {
        let state = Gathered { answers: vec![None; records], missing: records };
        Arc::new(Self { state: Mutex::new(state), all: Notify::new() })
    }

    fn set(&self, index: usize, answer: Answer) {
        let mut state = self.state.lock();
        let Some(place @ None) = state.answers.get_mut(index) else { return };
        *place = Some(answer);
        state.missing -= 1;
        if state.missing == 0 {
            self.all.notify_one();
        }
    }

    /// Waits for all of them, at most for `limit`. What is not answered then may have been written.
    async fn gather(&self, limit: Duration) -> Vec<Answer> {
        if self.state.lock().missing > 0 {
            // Whether all have come or not is seen below.
            let _ = tokio::time::timeout(limit, self.all.notified()).await;
        }
        let unanswered = Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
        let answers = std::mem::take(&mut self.state.lock().answers);
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| unanswered.clone())).collect()
    }
}

impl KafkaPublisher {
    /// Makes the producer; it connects by itself.
    ///
    /// # Errors
    /// When librdkafka does not take the properties.
    pub fn new(config: &KafkaConfig) -> Result<Arc<Self>, BrokerError> {
        let answer = settings::delivery_timeout(config) + GRACE;
        let talk = Talk::default();
        let producer = Mutex::new(Arc::new(make(config, &talk)?));
        Ok(Arc::new(Self { config: config.clone(), talk, answer, producer }))
    }

    /// The producer that is in use; a new one where the last has failed for good.
    fn producer(&self) -> Arc<ThreadedProducer<Talk>> {
        let mut producer = self.producer.lock();
        if let Some((code, text)) = producer.client().fatal_error() {
            warn!(%code, text, "the producer has failed and is made anew");
            self.make_anew(&mut producer);
        }
        Arc::clone(&producer)
    }

    /// Takes another producer instead of this one, unless that was done already.
    fn replace(&self, stuck: Arc<ThreadedProducer<Talk>>) {
        let mut producer = self.producer.lock();
        if Arc::ptr_eq(&producer, &stuck) {
            debug!("records were not acknowledged in time; the producer is made anew");
            self.make_anew(&mut producer);
        }
        drop(producer);
        // Its end may take a moment, in which it gives up what it has not sent.
        tokio::task::spawn_blocking(move || drop(stuck));
    }

    fn make_anew(&self, producer: &mut Arc<ThreadedProducer<Talk>>) {
        match make(&self.config, &self.talk) {
            Ok(new) => *producer = Arc::new(new),
            Err(error) => warn!(%error, "the producer cannot be made anew"),
        }
    }

    /// Waits until what is under way is answered, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let producer = Arc::clone(&self.producer.lock());
        let flushed = tokio::task::spawn_blocking(move || producer.flush(limit)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            warn!(
                "not every record was acknowledged in time; those lie in the store and are published at the next start"
            );
        }
    }
}

fn make(config: &KafkaConfig, talk: &Talk) -> Result<ThreadedProducer<Talk>, BrokerError> {
    settings::producer(config).create_with_context(talk.clone()).map_err(|error| BrokerError::creation(&error, config))
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, records: &[Arc<OutgoingRecord>]) -> Vec<Result<Acknowledged, PublishError>> {
        let producer = self.producer();
        let answers = Answers::of(records.len());
        // All are queued before the first is awaited, so that they travel together; the queue keeps their order.
        for (index, record) in records.iter().enumerate() {
            if let Err(error) = queue(&producer, record, Place { answers: Arc::clone(&answers), index }).await {
                answers.set(index, Err(error));
            }
        }
        let answers = answers.gather(self.answer).await;
        if answers.iter().any(is_timed_out) {
            // An outage, as a rule. But a client was seen that stayed so beside brokers that had been back for minutes.
            self.replace(producer);
        }
        let answers = answers.into_iter().zip(records);
        answers.map(|(answer, record)| answer.map_err(|error| classify(&error, &record.topic))).collect()
    }
}

fn is_timed_out(answer: &Answer) -> bool {
    matches!(answer, Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)))
}

/// Hands a record to the client, waiting for space in its queue.
async fn queue(producer: &ThreadedProducer<Talk>, record: &OutgoingRecord, place: Place) -> Result<(), KafkaError> {
    let mut outgoing: BaseRecord<'_, [u8], [u8], _> = BaseRecord::with_opaque_to(&record.topic, Box::new(place));
    outgoing.partition = record.partition;
    outgoing.key = record.key.as_deref();
    outgoing.payload = record.payload.as_deref();
    outgoing.timestamp = record.timestamp.filter(|timestamp| *timestamp >= 0);
    outgoing.headers = (!record.headers.is_empty()).then(|| headers(&record.headers));
    let deadline = tokio::time::Instant::now() + QUEUE_FULL;
    loop {
        match producer.send(outgoing) {
            Ok(()) => return Ok(()),
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

fn headers(headers: &HeaderBlock) -> OwnedHeaders {
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for (name, value) in headers {
        ffi::add_header(&mut owned, name, value);
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
    use crate::config::{Config, Secret};

    #[tokio::test]
    async fn a_producer_that_brings_nothing_is_made_anew() {
        let mut config = Config::default().kafka;
        config.brokers = "127.0.0.1:1".to_owned();
        config.producer_properties.insert("delivery.timeout.ms".to_owned(), Secret::new("100"));
        let publisher = KafkaPublisher::new(&config).unwrap();
        let first = publisher.producer();
        let record = OutgoingRecord {
            topic: "things".to_owned(),
            partition: None,
            key: None,
            payload: Some(b"{}".to_vec()),
            headers: HeaderBlock::default(),
            timestamp: None,
        };
        let answers = publisher.publish(&[Arc::new(record)]).await;
        assert!(matches!(answers[..], [Err(PublishError::Transient { .. })]), "{answers:?}");
        assert!(!Arc::ptr_eq(&first, &publisher.producer()));
    }

    #[test]
    fn errors_say_whether_to_try_again() {
        let of = |code| classify(&KafkaError::MessageProduction(code), "t");
        assert!(matches!(of(RDKafkaErrorCode::MessageSizeTooLarge), PublishError::TooLarge { .. }));
        assert!(matches!(of(RDKafkaErrorCode::TopicAuthorizationFailed), PublishError::Refused { .. }));
        assert!(matches!(of(RDKafkaErrorCode::MessageTimedOut), PublishError::Transient { .. }));
    }
}
