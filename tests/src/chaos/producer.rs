//! Produces a plan at a limited rate, and records the broker's acknowledgements.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord},
};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};

use super::{plan::Plan, snapshot::Place};
use crate::{topic::Topic, wait::PATIENCE};

/// The interval at which records are passed to the client.
const TICK: Duration = Duration::from_millis(10);

/// An acknowledged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// The place of the record.
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
    /// Starts without released records; `rate` is in records per second.
    pub fn start(broker: &str, topic: Topic, plan: Arc<Plan>, rate: u32) -> Self {
        let (released, allowed) = watch::channel(0);
        let acknowledged = Arc::default();
        let all = plan.order.len();
        let work = Work {
            broker: broker.to_owned(),
            topic,
            each: (rate as usize / 100).max(1),
            allowed,
            acknowledged: Arc::clone(&acknowledged),
            seen: vec![false; plan.events.len()],
            plan,
            sent: 0,
            again: VecDeque::new(),
        };
        Self { released, acknowledged, task: tokio::spawn(work.produce()), all }
    }

    /// Releases further records for production.
    pub fn release(&self, records: usize) {
        self.released.send_modify(|released| *released = (*released + records).min(self.all));
    }

    /// The number of records released so far.
    pub fn released(&self) -> usize {
        *self.released.borrow()
    }

    /// Releases all remaining records, and waits until the broker has acknowledged all.
    pub async fn finish(&mut self) {
        self.released.send_replace(self.all);
        (&mut self.task).await.expect("every record is acknowledged");
    }

    /// The records acknowledged so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The plan and the progress of its production.
struct Work {
    broker: String,
    topic: Topic,
    plan: Arc<Plan>,
    /// The maximum number of records per tick.
    each: usize,
    allowed: watch::Receiver<usize>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    /// Events with at least one sent record.
    seen: Vec<bool>,
    /// The number of sent records of the plan.
    sent: usize,
    /// Events whose records were lost with a replaced client.
    again: VecDeque<usize>,
}

type Deliveries = JoinSet<Result<Acknowledged, KafkaError>>;

/// The client delivers no records, although a broker is or will soon be available.
struct Stuck;

impl Work {
    async fn produce(mut self) {
        loop {
            let context = LastStatistics::default();
            let client = self.client(context.clone());
            let mut deliveries = Deliveries::new();
            let ended = self.through(&client, &mut deliveries).await;
            deliveries.shutdown().await;
            // Dropping the client discards its unsent records, which may take a moment.
            spawn_blocking(move || drop(client)).await.expect("a client ends");
            let Err(Stuck) = ended else { return };
            let statistics = context.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            eprintln!(
                "{}: a producer whose records timed out is replaced; its last statistics: {statistics}",
                self.topic.name()
            );
            self.take_stock().await;
        }
    }

    fn client(&self, context: LastStatistics) -> FutureProducer<LastStatistics> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.broker)
            // Retries neither duplicate records nor change their order, so the test stays exact when a broker dies.
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .set("linger.ms", "2")
            .set("statistics.interval.ms", "10000")
            .create_with_context(context)
            .expect("a producer")
    }

    /// Produces the remaining records with this client.
    async fn through(
        &mut self,
        client: &FutureProducer<LastStatistics>,
        deliveries: &mut Deliveries,
    ) -> Result<(), Stuck> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.again.is_empty() || self.sent < self.plan.order.len() {
            let ended = tokio::select! {
                more = self.allowed.wait_for(|released| !self.again.is_empty() || *released > self.sent) => match more {
                    Ok(_) => None,
                    Err(_) => return Ok(()),
                },
                Some(done) = deliveries.join_next() => Some(done),
            };
            if let Some(done) = ended {
                self.note(done.expect("a delivery ends"))?;
                continue;
            }
            ticks.tick().await;
            self.send_some(client, deliveries);
            while let Some(done) = deliveries.try_join_next() {
                self.note(done.expect("a delivery ends"))?;
            }
        }
        while let Some(done) = deliveries.join_next().await {
            self.note(done.expect("a delivery ends"))?;
        }
        Ok(())
    }

    /// Passes the records of one tick to the client until its queue is full.
    fn send_some(&mut self, client: &FutureProducer<LastStatistics>, deliveries: &mut Deliveries) {
        let released = *self.allowed.borrow();
        for _ in 0..self.each {
            let next = self.again.front().or_else(|| self.plan.order[..released].get(self.sent));
            let Some(&event) = next else { return };
            let planned = &self.plan.events[event];
            let record = FutureRecord::to(self.topic.name()).key(&planned.key).payload(&planned.payload);
            let delivery = match client.send_result(record) {
                Ok(delivery) => delivery,
                // The queue has space again after a delivery, or with the next tick.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => return,
                Err((error, _)) => panic!("{} refuses a record: {error}", self.topic.name()),
            };
            if self.again.pop_front().is_none() {
                self.sent += 1;
            }
            let is_first = !std::mem::replace(&mut self.seen[event], true);
            deliveries.spawn(async move {
                let at = delivery.await.expect("the producer lives").map_err(|(error, _)| error)?;
                let place = Place { partition: at.partition, offset: at.offset };
                Ok(Acknowledged { place, event, is_first })
            });
        }
    }

    fn note(&self, delivery: Result<Acknowledged, KafkaError>) -> Result<(), Stuck> {
        match delivery {
            Ok(record) => {
                self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(record);
                Ok(())
            }
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)) => Err(Stuck),
            Err(error) => panic!("{} did not receive a record: {error}", self.topic.name()),
        }
    }

    /// Reads the topic, which has no other producer, to find the records that have arrived.
    async fn take_stock(&mut self) {
        let topic = self.topic.clone();
        let records = spawn_blocking(move || topic.read()).await.expect("the topic is read");
        self.seen.fill(false);
        let mut there: HashMap<usize, usize> = HashMap::new();
        let mut acknowledged = Vec::new();
        for record in records {
            let event = self.plan.of_payload(record.payload.as_deref().unwrap_or_default());
            let event = event.expect("only this plan is in the topic");
            let is_first = !std::mem::replace(&mut self.seen[event], true);
            *there.entry(event).or_default() += 1;
            let place = Place { partition: record.partition, offset: record.offset };
            acknowledged.push(Acknowledged { place, event, is_first });
        }
        *self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner) = acknowledged;
        self.again = self.plan.order[..self.sent]
            .iter()
            .copied()
            .filter(|event| match there.get_mut(event) {
                Some(left @ 1..) => {
                    *left -= 1;
                    false
                }
                _ => true,
            })
            .collect();
    }
}

/// The client's last statistics.
#[derive(Clone, Default)]
struct LastStatistics(Arc<Mutex<String>>);

impl ClientContext for LastStatistics {
    fn stats_raw(&self, statistics: &[u8]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = String::from_utf8_lossy(statistics).into_owned();
    }
}
