//! Unusual records from other producers, on a real broker.

use std::{sync::Arc, time::Duration};

use order_runtime::{
    broker::{
        Publisher as _,
        kafka::{KafkaPublisher, TopicReader},
    },
    config::{Config, KafkaConfig, Secret},
    model::{HeaderBlock, OutgoingRecord},
};
use order_tests::{Broker, Deployment, PATIENCE, Service, events, eventually, until};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
};
use serde_json::Value;

/// The default maximum batch size of a topic. It includes 61 bytes for the batch and some for the record.
const TOPIC_LIMIT: usize = 1_048_588;

fn client(broker: &Broker) -> KafkaConfig {
    let mut config = Config::default().kafka;
    broker.address().clone_into(&mut config.brokers);
    config
}

/// Publishes records whose header names may be any bytes.
async fn publish(config: &KafkaConfig, records: Vec<OutgoingRecord>) {
    let publisher = KafkaPublisher::new(config).expect("properties are right");
    for result in publisher.publish(records.into_iter().map(Arc::new).collect()).await {
        result.expect("the broker accepts it");
    }
}

/// All records of a topic, byte for byte.
async fn read(config: &KafkaConfig, topic: &str) -> Vec<OutgoingRecord> {
    let (config, topic) = (config.clone(), topic.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        let mut reader = TopicReader::open(&config, &topic).expect("the topic exists");
        let mut all = Vec::new();
        while let Some((partition, batch)) = reader.next_record().expect("the broker answers") {
            let copied = |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.map(<[u8]>::to_vec));
            all.extend(batch.iter().map(|record| OutgoingRecord {
                topic: topic.as_str().into(),
                partition: Some(partition),
                key: record.key.map(|key| key.to_vec().into()),
                payload: record.payload.map(|payload| payload.to_vec().into()),
                headers: record.headers().map(copied).collect(),
                timestamp: record.timestamp,
            }));
        }
        all
    });
    reading.await.expect("no panic")
}

fn text(record: &OutgoingRecord, name: &str) -> String {
    let found = record.headers.iter().find(|(known, _)| *known == name.as_bytes());
    found.map(|(_, value)| String::from_utf8_lossy(value.unwrap_or_default()).into_owned()).unwrap_or_default()
}

/// Incompressible bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Never NUL or ASCII.
        state.to_be_bytes()[0] | 0x80
    };
    (0..length).map(byte).collect()
}

struct Producer {
    topic: String,
}

impl Producer {
    fn record(&self, payload: impl Into<Vec<u8>>) -> OutgoingRecord {
        OutgoingRecord {
            topic: self.topic.as_str().into(),
            partition: Some(0),
            key: Some(b"bad".to_vec().into()),
            payload: Some(payload.into().into()),
            headers: HeaderBlock::default(),
            timestamp: None,
        }
    }

    fn good(&self, order: &str, event: &Value) -> OutgoingRecord {
        OutgoingRecord { key: Some(order.to_owned().into()), ..self.record(event.to_string()) }
    }
}

async fn nothing_left(service: &Service, dead_letters: u64) {
    until("every record has its outcome", PATIENCE, async || {
        let stats = service.get("/stats").await;
        let done = stats["lag"] == 0 && stats["waiting"] == 0 && stats["deadLettered"] == dead_letters;
        if done { Ok(()) } else { Err(stats.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn odd_records_are_dead_letters_byte_for_byte_and_good_ones_are_handled() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 1).await;
    let producer = Producer { topic: deployment.events().name().to_owned() };
    let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
    let odd = vec![
        header(b"\xff\xfe", Some(b"\x00\xff")),
        header(b"twice", Some(b"1")),
        header(b"twice", Some(b"2")),
        header(b"null", None),
    ];
    let many = (0..10_000).map(|number| header(format!("h{number}").as_bytes(), Some(b"v"))).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let soon = i64::try_from((now + Duration::from_mins(50)).as_millis()).expect("small");
    // A broker refuses timestamps of more than an hour ahead, and accepts any in the past.
    let bad = vec![
        OutgoingRecord { headers: odd.clone().into(), ..producer.record("{") },
        OutgoingRecord { headers: many, ..producer.record("{") },
        OutgoingRecord { payload: None, ..producer.record("") },
        producer.record(""),
        OutgoingRecord { key: None, ..producer.record("{") },
        OutgoingRecord { key: Some(Vec::new().into()), ..producer.record("{") },
        OutgoingRecord { key: Some(noise(10_000).into()), ..producer.record("{") },
        OutgoingRecord { timestamp: Some(1), ..producer.record("{") },
        OutgoingRecord { timestamp: Some(soon), ..producer.record("{") },
        producer.record(noise(999_000)),
        producer.record(noise(1_000_001)),
        producer.record("x".repeat(1_048_400)),
    ];
    let config = client(&broker);
    let mut orders = Vec::new();
    for (number, record) in bad.iter().enumerate() {
        let order = format!("order-{number}");
        publish(&config, vec![record.clone(), producer.good(&order, &events::created(&order))]).await;
        orders.push(order);
    }
    // Valid events with unusual metadata, and one of the maximum size.
    let mut large = events::created("order-large");
    large["nobodyReadsThis"] = "x".repeat(1_047_000).into();
    let odd_and_good =
        OutgoingRecord { headers: odd.into(), ..producer.good("order-odd", &events::created("order-odd")) };
    publish(&config, vec![odd_and_good, producer.good("order-large", &large)]).await;
    orders.extend(["order-odd".to_owned(), "order-large".to_owned()]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let mut config = config.clone();
        config.producer_properties.insert("compression.type".to_owned(), Secret::new(codec));
        let order = format!("order-{codec}");
        publish(&config, vec![producer.good(&order, &events::created(&order))]).await;
        orders.push(order);
    }

    let service = deployment.start_ready().await;
    nothing_left(&service, bad.len() as u64).await;
    for order in &orders {
        assert_eq!(service.get(&format!("/orders/{order}")).await["version"], 1, "{order}");
    }
    let letters = until("all letters are there", PATIENCE, async || {
        let letters = read(&config, deployment.dead_letters().name()).await;
        if letters.len() == bad.len() { Ok(letters) } else { Err(format!("{} letters", letters.len())) }
    })
    .await;
    for (place, sent) in bad.iter().enumerate() {
        // Bad and good ones alternate.
        let offset = (2 * place).to_string();
        let letter = letters.iter().find(|letter| text(letter, "dlq-offset") == offset);
        let letter = letter.unwrap_or_else(|| panic!("no dead letter of offset {offset}"));
        assert_eq!(text(letter, "dlq-reason"), "undecodable", "offset {offset}");
        assert!(letter.key == sent.key && letter.payload == sent.payload, "offset {offset}");
        assert!(letter.headers.iter().zip(&sent.headers).all(|(letter, sent)| letter == sent), "offset {offset}");
        assert!(letter.headers.iter().count() > sent.headers.iter().count(), "offset {offset}");
        if let Some(timestamp) = sent.timestamp {
            assert_eq!(text(letter, "dlq-timestamp"), timestamp.to_string());
        }
    }
    assert!(service.terminate().await.success());
}

/// An incompressible record of the maximum size does not fit into the dead-letter topic with its additional headers.
#[tokio::test]
async fn a_refused_dead_letter_stays_until_its_topic_accepts_it() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 1).await;
    let producer = Producer { topic: deployment.events().name().to_owned() };
    let config = client(&broker);
    let large = producer.record(noise(1_048_400));
    publish(&config, vec![large.clone(), producer.good("order-1", &events::created("order-1"))]).await;
    let service = deployment.start_ready().await;
    nothing_left(&service, 1).await;
    assert_eq!(service.get("/orders/order-1").await["version"], 1, "the events after it are handled");
    let reported = until("readiness reports it", PATIENCE, async || {
        let answer = service.ask("/health/ready").await;
        if answer.status == 503 { Ok(answer.body.to_string()) } else { Err(answer.body.to_string()) }
    })
    .await;
    assert!(reported.contains("too large for it") && reported.contains("max.message.bytes"), "{reported}");
    assert!(service.terminate().await.success());

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("an admin client");
    let raised = (2 * TOPIC_LIMIT).to_string();
    let topic = deployment.dead_letters().name().to_owned();
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", &raised);
    admin.alter_configs([&change], &AdminOptions::new()).await.expect("an answer").remove(0).expect("it is changed");
    let service = deployment.start_ready().await;
    let letters = until("it leaves", PATIENCE, async || {
        let letters = read(&config, &topic).await;
        if letters.is_empty() { Err("nothing yet".to_owned()) } else { Ok(letters) }
    })
    .await;
    assert!(letters.len() == 1 && letters[0].payload == large.payload && letters[0].key == large.key);
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn a_missing_dead_letter_topic_is_waited_for() {
    let Some(broker) = super::broker().await else { return };
    let missing = format!("{}-made-later", Deployment::new(&broker).await.dead_letters().name());
    let deployment = Deployment::with_partitions(&broker, 1)
        .await
        .with("KAFKA_DLQ_TOPIC", &missing)
        // The time for which the client expects that a missing topic may still appear.
        .with("KAFKA_PRODUCER_TOPIC_METADATA_PROPAGATION_MAX_MS", "500");
    let producer = Producer { topic: deployment.events().name().to_owned() };
    let config = client(&broker);
    let service = deployment.start_ready().await;
    publish(&config, vec![producer.record("{"), producer.good("order-1", &events::created("order-1"))]).await;
    nothing_left(&service, 1).await;
    assert_eq!(service.get("/orders/order-1").await["version"], 1, "the events after it are handled");
    until("readiness reports it", PATIENCE, async || {
        let answer = service.ask("/health/ready").await;
        let reported = answer.status == 503 && answer.body.to_string().contains("does not take dead letters");
        if reported { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    assert_eq!(service.ask("/health/live").await.status, 200);

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("an admin client");
    // The topic may have fewer partitions than that of the events, because the key selects the partition.
    let made =
        admin.create_topics(&[NewTopic::new(&missing, 1, TopicReplication::Fixed(1))], &AdminOptions::new()).await;
    made.expect("an answer").remove(0).expect("the topic is made");
    eventually("the letter is there", PATIENCE, async || read(&config, &missing).await.len() == 1).await;
    until("ready again", PATIENCE, async || {
        let answer = service.ask("/health/ready").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    assert!(service.terminate().await.success());
}
