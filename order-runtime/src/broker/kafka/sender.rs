//! A producer and its one thread, which enqueues records and takes their delivery reports.
//!
//! Each header of a dead letter is an allocation, which librdkafka frees on the thread that takes the delivery report. When
//! another thread had made the allocations, freeing them cost a sixth of the total cost of a dead letter.

use std::{
    sync::{
        Arc,
        mpsc::{self, TryRecvError},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::{
    ClientContext, Message as _,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext},
};
use tokio::sync::Notify;
use tracing::debug;

use super::{
    ffi::{self, EventQueue},
    log_throttle::KafkaLogThrottle,
    settings,
};
use crate::{
    broker::{Acknowledged, BrokerError},
    config::KafkaConfig,
    model::{HeaderBlock, OutgoingRecord, OutgoingRecords},
};

/// How long to wait for space in a full queue.
const QUEUE_FULL: Duration = Duration::from_secs(30);
/// The number of records after which the thread takes delivery reports, whose memory the next records reuse.
const RECORDS_A_TURN: usize = 64;

/// The client context that all producers of one publisher share.
#[derive(Clone, Default)]
pub(super) struct Talk(Arc<KafkaLogThrottle>);

impl Talk {
    /// The advertised broker address that cannot be reached, with the reason.
    pub(super) fn unreached(&self) -> Option<String> {
        self.0.unreached().map(|unreached| unreached.to_string())
    }
}

impl ClientContext for Talk {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.0.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "librdkafka reports an error");
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ProducerContext<NoCustomPartitioner> for Talk {
    type DeliveryOpaque = Box<AnswerSlot>;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Box<AnswerSlot>) {
        place.answers.set(
            place.index,
            match result {
                Ok(message) => Ok(Acknowledged { partition: message.partition(), offset: message.offset() }),
                Err((error, _)) => Err(error.clone()),
            },
        );
    }
}

pub(super) type Answer = Result<Acknowledged, KafkaError>;

/// Collects the answers for the records of one call.
///
/// It wakes the caller once: a future and a timer for each record would cost more than the record itself.
pub(super) struct Answers {
    state: Mutex<Gathered>,
    all: Notify,
}

struct Gathered {
    answers: Vec<Option<Answer>>,
    missing: usize,
}

/// The place of one record's answer.
pub(super) struct AnswerSlot {
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

    /// Waits for all answers, at most for `limit`. A record without an answer may have been written.
    pub(super) async fn gather(&self, limit: Duration) -> Vec<Answer> {
        if self.state.lock().missing > 0 {
            // Missing answers are handled below.
            let _ = tokio::time::timeout(limit, self.all.notified()).await;
        }
        let unanswered = Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
        let answers = std::mem::take(&mut self.state.lock().answers);
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| unanswered.clone())).collect()
    }
}

/// Records to be enqueued in order.
struct Job {
    records: OutgoingRecords,
    answers: Arc<Answers>,
}

/// A producer in use. When it is dropped, its thread ends, and unsent records are answered with an error.
pub(super) struct Sender {
    // Dropped in this order: the thread drops the last reference to the producer, which may take a moment, and is woken last,
    // to find that no more jobs will come.
    producer: Arc<BaseProducer<Talk>>,
    jobs: mpsc::Sender<Job>,
    thread: Wake,
}

struct Wake(Thread);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

impl Sender {
    /// Creates a producer, which connects in the background.
    pub(super) fn start(config: &KafkaConfig, talk: &Talk) -> Result<Self, BrokerError> {
        let producer: BaseProducer<Talk> = settings::producer(config)
            .create_with_context(talk.clone())
            .map_err(|error| BrokerError::creation(&error, config))?;
        let producer = Arc::new(producer);
        let (jobs, to_do) = mpsc::channel();
        let of_thread = Arc::clone(&producer);
        let thread = thread::Builder::new()
            .name("kafka-produce".to_owned())
            .spawn(move || work(&of_thread, &to_do))
            .map_err(|error| BrokerError::Client(format!("cannot start the producer thread: {error}")))?;
        Ok(Self { producer, jobs, thread: Wake(thread.thread().clone()) })
    }

    /// Enqueues records as one job.
    pub(super) fn send(&self, records: OutgoingRecords) -> Arc<Answers> {
        let answers = Answers::of(records.len());
        let job = Job { records, answers: Arc::clone(&answers) };
        if self.jobs.send(job).is_ok() {
            self.thread.0.unpark();
        }
        answers
    }

    /// The fatal error after which the producer cannot send any more, if there is one.
    pub(super) fn fatal_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.producer.client().fatal_error()
    }

    /// Waits until all records in flight are answered, at most for `limit`. Blocks.
    pub(super) fn flush(&self, limit: Duration) -> Result<(), KafkaError> {
        self.producer.flush(limit)
    }
}

fn work(producer: &BaseProducer<Talk>, jobs: &mpsc::Receiver<Job>) {
    let thread = thread::current();
    let events = EventQueue::noticed(producer.client(), move || thread.unpark());
    loop {
        take_answers(producer, &events);
        match jobs.try_recv() {
            Ok(Job { records, answers }) => {
                let mut full = None;
                for (index, record) in records.iter().enumerate() {
                    if index % RECORDS_A_TURN == RECORDS_A_TURN - 1 {
                        take_answers(producer, &events);
                    }
                    let place = AnswerSlot { answers: Arc::clone(&answers), index };
                    // After one record found no space, the later ones must not overtake it.
                    let queued = full.clone().map_or_else(|| queue(producer, record, place), Err);
                    if let Err(error) = queued {
                        full = full.or_else(|| Some(error.clone()).filter(is_full));
                        answers.set(index, Err(error));
                    }
                }
            }
            Err(TryRecvError::Empty) => thread::park(),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

/// Takes all delivery reports. The queue notifies only when it becomes non-empty, so it must be emptied.
fn take_answers(producer: &BaseProducer<Talk>, events: &EventQueue<'_>) {
    while !events.is_empty() {
        producer.poll(Duration::ZERO);
    }
}

fn is_full(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
}

/// Enqueues a record, waiting for space in the client's queue.
fn queue(producer: &BaseProducer<Talk>, record: &OutgoingRecord, place: AnswerSlot) -> Result<(), KafkaError> {
    let mut outgoing: BaseRecord<'_, [u8], [u8], _> = BaseRecord::with_opaque_to(&record.topic, Box::new(place));
    outgoing.partition = record.partition;
    outgoing.key = record.key.as_deref();
    outgoing.payload = record.payload.as_deref();
    outgoing.timestamp = record.timestamp.filter(|timestamp| *timestamp >= 0);
    outgoing.headers = (!record.headers.is_empty()).then(|| headers(&record.headers));
    let mut deadline = None;
    loop {
        match producer.send(outgoing) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                if Instant::now() < *deadline.get_or_insert_with(|| Instant::now() + QUEUE_FULL) =>
            {
                outgoing = again;
                // Taking delivery reports makes space.
                producer.poll(Duration::from_millis(5));
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Config, Secret};

    /// Settings of a producer whose broker does not exist, and that gives up a record after this many milliseconds.
    pub(in crate::broker::kafka) fn to_nobody(delivery_timeout: &str) -> KafkaConfig {
        let mut config = Config::default().kafka;
        config.brokers = "127.0.0.1:1".to_owned();
        config.producer_properties.insert("delivery.timeout.ms".to_owned(), Secret::new(delivery_timeout));
        config
    }

    pub(in crate::broker::kafka) fn record() -> Arc<OutgoingRecord> {
        Arc::new(OutgoingRecord {
            topic: "things".into(),
            partition: None,
            key: None,
            payload: Some(b"{}".to_vec().into()),
            headers: HeaderBlock::default(),
            timestamp: None,
        })
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_dropped_producer_ends_and_answers_its_unsent_records() {
        let sender = Sender::start(&to_nobody("300000"), &Talk::default()).unwrap();
        let producer = Arc::downgrade(&sender.producer);
        let answers = sender.send([record(), record()].into());
        until("both are enqueued", || sender.producer.in_flight_count() == 2).await;
        drop(sender);
        let answers = answers.gather(Duration::from_mins(1)).await;
        let timed_out = Some(RDKafkaErrorCode::MessageTimedOut);
        let given_up = |answer: &Answer| answer.as_ref().is_err_and(|error| error.rdkafka_error_code() != timed_out);
        assert!(answers.len() == 2 && answers.iter().all(given_up), "{answers:?}");
        until("the thread has dropped the producer", || producer.strong_count() == 0).await;
    }
}
