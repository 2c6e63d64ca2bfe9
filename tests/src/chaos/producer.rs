//! Produces a plan, as fast as it is let, and keeps what the broker acknowledged.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord},
};
use tokio::{sync::watch, task::JoinSet};

use super::{plan::Plan, snapshot::Place};

/// How often records are handed over.
const TICK: Duration = Duration::from_millis(10);

/// A record that the broker has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// Where it lies.
    pub place: Place,
    /// The event, as its index in the plan.
    pub event: usize,
    /// Whether it is the event's first record.
    pub is_first: bool,
}

/// Produces in the background.
pub struct Producer {
    released: watch::Sender<usize>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    task: tokio::task::JoinHandle<()>,
    all: usize,
}

impl Producer {
    /// Starts with nothing released; `rate` is in records per second.
    pub fn start(broker: &str, topic: &str, plan: Arc<Plan>, rate: u32) -> Self {
        let (released, allowed) = watch::channel(0);
        let acknowledged = Arc::default();
        let all = plan.order.len();
        let task =
            tokio::spawn(produce(broker.to_owned(), topic.to_owned(), plan, rate, allowed, Arc::clone(&acknowledged)));
        Self { released, acknowledged, task, all }
    }

    /// Lets go of so many more records.
    pub fn release(&self, records: usize) {
        self.released.send_modify(|released| *released = (*released + records).min(self.all));
    }

    /// How many records were let go so far.
    pub fn released(&self) -> usize {
        *self.released.borrow()
    }

    /// Lets go of all that is left, and waits until the broker has all.
    pub async fn finish(&mut self) {
        self.released.send_replace(self.all);
        (&mut self.task).await.expect("every record is acknowledged");
    }

    /// What the broker has acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn produce(
    broker: String,
    topic: String,
    plan: Arc<Plan>,
    rate: u32,
    mut allowed: watch::Receiver<usize>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
) {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker)
        // A retry neither doubles a record nor changes the order, so a broker that dies costs the test no certainty.
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "180000")
        .set("linger.ms", "2")
        .create()
        .expect("a producer");
    let mut deliveries = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let each = (rate as usize / 100).max(1);
    let mut sent = 0;
    let mut seen = vec![false; plan.events.len()];
    while sent < plan.order.len() {
        let Ok(released) = allowed.wait_for(|released| *released > sent).await.map(|released| *released) else {
            return;
        };
        ticks.tick().await;
        let until = released.min(sent + each);
        while sent < until {
            let event = plan.order[sent];
            let planned = &plan.events[event];
            match producer.send_result(FutureRecord::to(&topic).key(&planned.key).payload(&planned.payload)) {
                Ok(delivery) => {
                    let is_first = !std::mem::replace(&mut seen[event], true);
                    let acknowledged = Arc::clone(&acknowledged);
                    deliveries.spawn(async move {
                        let delivery = delivery.await.expect("the producer lives");
                        let at = delivery.unwrap_or_else(|(error, _)| panic!("a record is not acknowledged: {error}"));
                        let place = Place { partition: at.partition, offset: at.offset };
                        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(Acknowledged {
                            place,
                            event,
                            is_first,
                        });
                    });
                    sent += 1;
                }
                // The queue has room again when a delivery has come, or with the next tick.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => panic!("{topic} takes no record: {error}"),
            }
        }
        while let Some(done) = deliveries.try_join_next() {
            done.expect("a delivery ends");
        }
    }
    while let Some(done) = deliveries.join_next().await {
        done.expect("a delivery ends");
    }
}
