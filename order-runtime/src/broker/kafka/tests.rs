//! The member, the producer and the reader against the embedded broker.

mod errors;
mod fetch_policy;
mod placing;
mod taking;
mod wire;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc};

use super::{KafkaConsumer, KafkaPublisher, MetadataClient, TopicReader};
use crate::{
    broker::{BrokerError, Consumer, ConsumerEvent, PartitionOffer, Publisher, Start, embedded::EmbeddedBroker},
    config::{Config, KafkaConfig},
    model::{HeaderBlock, OutgoingRecord, PartitionId, RecordBatch, TopicPattern},
};

const LIMIT: Duration = Duration::from_secs(20);

async fn broker() -> (EmbeddedBroker, KafkaConfig) {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let broker = EmbeddedBroker::start(listen, &["things", "things-dlq"]).await.expect("a free port");
    let mut config = Config::default().kafka;
    config.brokers = broker.address().to_string();
    config.topics = vec![TopicPattern::named("things")];
    (broker, config)
}

fn record(partition: i32, payload: &str) -> OutgoingRecord {
    OutgoingRecord {
        topic: "things".into(),
        partition: Some(partition),
        key: Some(b"key".to_vec().into()),
        payload: Some(payload.as_bytes().to_vec().into()),
        headers: vec![("kind", Some("test"))].into(),
        timestamp: Some(1_700_000_000_000),
    }
}

async fn publish(config: &KafkaConfig, partition: i32, payloads: &[&str]) {
    let publisher = KafkaPublisher::new(config).expect("properties are valid");
    let records = payloads.iter().map(|payload| Arc::new(record(partition, payload))).collect();
    for result in publisher.publish(records).await {
        result.expect("the broker takes it");
    }
}

/// Answers assignments like the engine. The start of each partition is chosen by the test.
struct Engine {
    consumer: Arc<KafkaConsumer>,
    events: mpsc::UnboundedReceiver<ConsumerEvent>,
    ready: HashMap<PartitionId, Arc<Notify>>,
}

impl Engine {
    fn join(config: &KafkaConfig) -> Self {
        Self::of(KafkaConsumer::start(config).expect("properties are valid"))
    }

    fn of((consumer, events): (Arc<KafkaConsumer>, mpsc::UnboundedReceiver<ConsumerEvent>)) -> Self {
        Self { consumer, events, ready: HashMap::new() }
    }

    async fn next(&mut self) -> Option<ConsumerEvent> {
        tokio::time::timeout(LIMIT, self.events.recv()).await.expect("an event comes in time")
    }

    async fn assigned(&mut self, start: impl Fn(&PartitionOffer) -> Start) -> Vec<PartitionOffer> {
        loop {
            if let Some(ConsumerEvent::Assigned { partitions, answer }) = self.next().await {
                answer.send(partitions.iter().map(&start).collect()).expect("the member waits");
                if !partitions.is_empty() {
                    self.ready.extend(partitions.iter().map(|offer| (offer.id.clone(), Arc::clone(&offer.ready))));
                    return partitions;
                }
            }
        }
    }

    /// Waits until the owner of a partition is notified of records, or another event arrives.
    async fn reported(&mut self, partition: &PartitionId) {
        let ready = Arc::clone(&self.ready[partition]);
        tokio::select! {
            () = ready.notified() => {}
            event = self.next() => drop(event.expect("the member lives")),
        }
    }

    /// Takes from one partition until it has `count` records.
    async fn take(&mut self, partition: &PartitionId, count: usize) -> Vec<(i64, String)> {
        let mut taken = RecordBatch::default();
        while taken.len() < count {
            taken.append_batch(&mut self.consumer.take(partition, 1_000, 1 << 20));
            if taken.len() < count {
                self.reported(partition).await;
            }
        }
        let text = |payload: Option<&[u8]>| String::from_utf8_lossy(payload.unwrap_or_default()).into_owned();
        taken.iter().map(|record| (record.offset, text(record.payload))).collect()
    }

    async fn leave(mut self) {
        self.consumer.close();
        while let Some(event) = self.next().await {
            if let ConsumerEvent::Revoked { answer, .. } = event {
                answer.send(()).expect("the member waits");
            }
        }
        assert!(self.consumer.joined(LIMIT).await, "the poll thread ends");
    }
}

fn number(offers: &[PartitionOffer], partition: i32) -> &PartitionOffer {
    offers.iter().find(|offer| offer.id.partition == partition).expect("the only member gets all partitions")
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_from_where_the_engine_says_and_offsets_are_committed_on_leaving() {
    let (_broker, config) = broker().await;
    publish(&config, 1, &["a", "b", "c"]).await;

    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    assert_eq!(offers.len(), 4);
    let one = number(&offers, 1).clone();
    assert_eq!((one.log_start, one.log_end, one.committed), (0, 3, None));
    assert!(one.id.cluster.starts_with("embedded-"), "{}", one.id.cluster);
    let taken = engine.take(&one.id, 3).await;
    assert_eq!(taken, [(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())]);
    assert_eq!(
        engine.consumer.inbox_status(&one.id).map(|inbox_status| (inbox_status.log_end, inbox_status.lag(0))),
        Some((3, 3))
    );
    engine.consumer.store_offset(&one.id, 2, "store-id");
    engine.leave().await;

    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.committed.unwrap_or(offer.log_start))).await;
    let one = number(&offers, 1).clone();
    assert_eq!((one.committed, one.committed_metadata.as_str()), (Some(2), "store-id"));
    assert_eq!(engine.take(&one.id, 1).await, [(2, "c".to_owned())]);
    engine.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seeking_drops_what_was_fetched_and_pausing_stops_it() {
    let (_broker, config) = broker().await;
    publish(&config, 0, &["a", "b", "c", "d"]).await;
    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    let zero = number(&offers, 0).id.clone();
    assert_eq!(engine.take(&zero, 4).await.len(), 4);

    engine.consumer.seek(&zero, 2);
    assert_eq!(engine.take(&zero, 2).await, [(2, "c".to_owned()), (3, "d".to_owned())]);

    engine.consumer.pause(&zero);
    publish(&config, 0, &["e"]).await;
    publish(&config, 1, &["other"]).await;
    // The other partition shows that the member polls; the paused one has nothing.
    let other = number(&offers, 1).id.clone();
    engine.take(&other, 1).await;
    assert!(engine.consumer.take(&zero, 10, 1 << 20).is_empty());
    engine.consumer.resume(&zero);
    assert_eq!(engine.take(&zero, 1).await, [(4, "e".to_owned())]);
    engine.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_refused_delivers_nothing_until_it_is_sought() {
    let (_broker, config) = broker().await;
    publish(&config, 0, &["a"]).await;
    publish(&config, 1, &["b"]).await;
    let mut engine = Engine::join(&config);
    let offers =
        engine.assigned(|offer| if offer.id.partition == 0 { Start::Paused } else { Start::At(offer.log_start) }).await;
    let (zero, one) = (number(&offers, 0).id.clone(), number(&offers, 1).id.clone());
    engine.take(&one, 1).await;
    assert!(engine.consumer.take(&zero, 10, 1 << 20).is_empty());
    engine.consumer.seek(&zero, 0);
    assert_eq!(engine.take(&zero, 1).await, [(0, "a".to_owned())]);
    engine.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_outside_of_the_log_is_reported() {
    let (_broker, config) = broker().await;
    publish(&config, 0, &["a"]).await;
    let mut engine = Engine::join(&config);
    engine.assigned(|offer| Start::At(if offer.id.partition == 0 { 500 } else { 0 })).await;
    loop {
        if let Some(ConsumerEvent::OutOfRange { partition, log_start, log_end }) = engine.next().await {
            assert_eq!((partition.partition, log_start, log_end), (0, 0, 1));
            break;
        }
    }
    engine.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_waits_for_its_broker_and_reports_it() {
    // The port is bound, so that no other test gets it, and is not listened at, so that it refuses connections.
    let kept = tokio::net::TcpSocket::new_v4().expect("a socket");
    kept.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let listen = kept.local_addr().expect("an address");
    let mut config = Config::default().kafka;
    config.brokers = listen.to_string();
    config.topics = vec![TopicPattern::named("things")];
    let mut engine = Engine::join(&config);
    let deadline = tokio::time::Instant::now() + LIMIT;
    while engine.consumer.health().not_ready.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the reason is reported in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(engine.consumer.health().not_ready[0].contains(&config.brokers));
    drop(kept);
    let _broker = EmbeddedBroker::start(listen, &["things"]).await.expect("the port is free again");
    assert_eq!(engine.assigned(|offer| Start::At(offer.log_start)).await.len(), 4);
    assert_eq!(engine.consumer.health().not_ready, Vec::<String>::new());
    engine.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_stuck_is_given_up_and_another_goes_on() {
    let (_broker, config) = broker().await;
    publish(&config, 0, &["a", "b"]).await;
    let mut engine = Engine::of(KafkaConsumer::start_with(&config, Duration::ZERO).expect("properties are valid"));
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    let zero = number(&offers, 0).id.clone();
    assert_eq!(engine.take(&zero, 2).await.len(), 2);

    // The client reports itself as disconnected, while the broker answers others.
    engine.consumer.shared.note_connected(false);
    let mut lost = Vec::new();
    while lost.len() < offers.len() {
        if let Some(ConsumerEvent::Revoked { partitions, lost: true, answer }) = engine.next().await {
            lost.extend(partitions);
            answer.send(()).expect("the poll thread waits");
        }
    }
    assert!(engine.consumer.take(&zero, 10, 1 << 20).is_empty());
    publish(&config, 0, &["c"]).await;
    // The group may still have the former member for a moment.
    while !engine.assigned(|_| Start::At(1)).await.iter().any(|offer| offer.id == zero) {}
    assert_eq!(engine.take(&zero, 2).await, [(1, "b".to_owned()), (2, "c".to_owned())]);
    engine.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_what_was_there_when_it_began() {
    let (_broker, config) = broker().await;
    publish(&config, 0, &["a", "b"]).await;
    publish(&config, 3, &["c"]).await;
    let read = tokio::task::spawn_blocking({
        let config = config.clone();
        move || {
            let mut reader = TopicReader::open(&config, "things").expect("the topic is there");
            assert_eq!(reader.at_most(), 3);
            let mut found = Vec::new();
            while let Some((partition, batch)) = reader.next_record().expect("the broker answers") {
                let record = batch.get(0).expect("one record");
                assert_eq!((record.key, record.header("kind")), (Some(&b"key"[..]), Some(&b"test"[..])));
                found.push((partition, record.offset));
            }
            found.sort_unstable();
            found
        }
    });
    assert_eq!(read.await.expect("no panic"), [(0, 0), (0, 1), (3, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_leaves_a_range_and_goes_on_with_an_earlier_one() {
    let (_broker, config) = broker().await;
    publish(&config, 0, &["a", "b", "c", "d", "e", "f"]).await;
    publish(&config, 3, &["g"]).await;
    let read = tokio::task::spawn_blocking(move || {
        let mut reader = TopicReader::open_ranges(&config, "things", []).expect("valid properties");
        assert!(reader.next_record().expect("there is nothing to ask for").is_none());
        let mut read = |ranges: &[(i32, i64, i64)]| {
            reader.go_on_with("things", ranges.iter().copied()).expect("valid ranges");
            let mut found = Vec::new();
            while let Some((partition, batch)) = reader.next_record().expect("the broker answers") {
                found.push((partition, batch.get(0).expect("one record").offset));
            }
            found.sort_unstable();
            found
        };
        // Records that were fetched beyond a range must not count for the next one.
        [read(&[(0, 3, 5), (3, 0, 1)]), read(&[(0, 1, 3)]), read(&[(0, 0, 1)])]
    });
    let steps = read.await.expect("no panic");
    assert_eq!(steps, [vec![(0, 3), (0, 4), (3, 0)], vec![(0, 1), (0, 2)], vec![(0, 0)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_there_is_named() {
    let (_broker, config) = broker().await;
    let error = tokio::task::spawn_blocking(move || {
        let metadata = MetadataClient::new(&config).expect("properties are valid");
        assert!(metadata.identity().expect("the broker answers").embedded);
        TopicReader::open(&config, "nothing-here").err()
    });
    let error = error.await.expect("no panic");
    assert_eq!(error, Some(BrokerError::UnknownTopic("nothing-here".to_owned())));
}
