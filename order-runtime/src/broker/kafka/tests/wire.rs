//! Round trips of unusual records: no record that a producer may send is lost or ends the client.

use super::{
    Arc, Consumer as _, Engine, HeaderBlock, KafkaConfig, KafkaPublisher, OutgoingRecord, Publisher as _, RecordBatch,
    Start, TopicReader, broker, number,
};
use crate::config::Secret;

fn plain(payload: impl Into<Vec<u8>>) -> OutgoingRecord {
    OutgoingRecord {
        topic: "things".into(),
        partition: Some(0),
        key: Some(b"key".to_vec().into()),
        payload: Some(payload.into().into()),
        headers: HeaderBlock::default(),
        timestamp: Some(1_700_000_000_000),
    }
}

async fn publish(config: &KafkaConfig, records: &[OutgoingRecord]) {
    let records = records.iter().cloned().map(Arc::new).collect();
    let publisher = KafkaPublisher::new(config).expect("properties are valid");
    for result in publisher.publish(records).await {
        result.expect("the broker takes it");
    }
}

/// The records of partition 0, as both a group member and a reader see them.
async fn seen(config: &KafkaConfig, count: usize) -> Vec<OutgoingRecord> {
    let mut engine = Engine::join(config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    let zero = number(&offers, 0).id.clone();
    let mut taken = RecordBatch::default();
    while taken.len() < count {
        let mut more = engine.consumer.take(&zero, 1_000, 8 << 20);
        // Records that did not fit are there already, without a second notification.
        if more.is_empty() {
            engine.reported(&zero).await;
        }
        taken.append_batch(&mut more);
    }
    engine.leave().await;
    let config = config.clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut reader = TopicReader::open(&config, "things").expect("the topic is there");
        let mut read = RecordBatch::default();
        while let Some((_, mut record)) = reader.next_record().expect("the broker answers") {
            read.append_batch(&mut record);
        }
        read
    });
    let read = read.await.expect("no panic");
    let all = |batch: &RecordBatch| -> Vec<OutgoingRecord> {
        let record = |record: crate::model::RecordRef<'_>| OutgoingRecord {
            key: record.key.map(|bytes| bytes.to_vec().into()),
            payload: record.payload.map(|bytes| bytes.to_vec().into()),
            headers: record.headers().collect(),
            timestamp: record.timestamp,
            ..plain("")
        };
        batch.iter().map(record).collect()
    };
    assert!(all(&read) == all(&taken), "a reader sees what a member sees");
    all(&taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes_travel_there_and_back() {
    let (_broker, config) = broker().await;
    let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
    let odd = vec![
        header(b"\xff\xfe", Some(b"\x00\xff")),
        header(b"twice", Some(b"1")),
        header(b"twice", Some(b"2")),
        header(b"null", None),
        header(b"empty", Some(b"")),
        header(b"dlq-id", Some(b"forged")),
    ];
    let many = (0..10_000).map(|number| header(format!("h{number}").as_bytes(), Some(b"v"))).collect();
    let sent = [
        OutgoingRecord { headers: odd.into(), ..plain("odd headers") },
        OutgoingRecord { headers: many, ..plain("many headers") },
        OutgoingRecord {
            headers: vec![header(&[b'h'; 30_000], Some(&[7; 900_000]))].into(),
            ..plain("a large header")
        },
        OutgoingRecord { payload: None, ..plain("") },
        plain(""),
        OutgoingRecord { key: None, ..plain("no key") },
        OutgoingRecord { key: Some(Vec::new().into()), ..plain("an empty key") },
        OutgoingRecord { key: Some(b"\xff\0".to_vec().into()), ..plain(b"\xff\0".to_vec()) },
        OutgoingRecord { key: Some(vec![b'k'; 900_000].into()), ..plain("a large key") },
        OutgoingRecord { timestamp: Some(1), ..plain("long ago") },
        OutgoingRecord { timestamp: Some(253_402_300_799_999), ..plain("in the year 9999") },
    ];
    publish(&config, &sent).await;
    let seen = seen(&config, sent.len()).await;
    for (sent, seen) in sent.iter().zip(&seen) {
        let name = String::from_utf8_lossy(sent.payload.as_deref().unwrap_or_default());
        assert!(sent == seen, "{name}: {:?} at {:?}", seen.payload, seen.timestamp);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_at_the_limits_of_size_travel() {
    let (_broker, config) = broker().await;
    let sent = [999_000, 1_000_001, 1_048_400].map(|bytes| plain(vec![b'x'; bytes]));
    publish(&config, &sent).await;
    assert!(seen(&config, sent.len()).await == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_codec_is_understood() {
    let (_broker, mut config) = broker().await;
    let mut all = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        config.producer_properties.insert("compression.type".to_owned(), Secret::new(codec));
        let records: Vec<_> = (0..50).map(|number| plain(format!("{codec} {number} {}", "x".repeat(1_000)))).collect();
        publish(&config, &records).await;
        all.extend(records);
    }
    assert!(seen(&config, all.len()).await == all);
}

/// A few bytes may be a record of any size. It is bounded by the limit of a fetch, and dead-lettered because of its size.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_swells_arrives_whole() {
    let (_broker, config) = broker().await;
    let sent = [plain(vec![0; 20_000_000]), plain("after it")];
    publish(&config, &sent).await;
    assert!(seen(&config, sent.len()).await == sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_too_small_delays_and_drops_nothing() {
    let (_broker, mut config) = broker().await;
    config.producer_properties.insert("queue.buffering.max.messages".to_owned(), Secret::new("10"));
    let sent: Vec<_> = (0..300).map(|number| plain(number.to_string())).collect();
    publish(&config, &sent).await;
    assert!(seen(&config, sent.len()).await == sent, "all of them, in their order");
}

/// With zstd, librdkafka does not decompress more than it may receive, and requests the same records again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_swells_beyond_the_limit_is_reported() {
    let (_broker, mut config) = broker().await;
    for (name, value) in [("fetch.max.bytes", "1000000"), ("receive.message.max.bytes", "1100000")] {
        config.consumer_properties.insert(name.to_owned(), Secret::new(value));
    }
    config.producer_properties.insert("compression.type".to_owned(), Secret::new("zstd"));
    publish(&config, &[plain("before it"), plain(vec![0; 5_000_000])]).await;
    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    let reported = async {
        while engine.consumer.health().not_ready.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(super::LIMIT, reported).await.expect("it is reported in time");
    let health = engine.consumer.health();
    assert!(health.not_ready[0].contains("cannot be decompressed"), "{:?}", health.not_ready);
    assert_eq!(health.not_live, Vec::<String>::new());
    let before = engine.consumer.take(&number(&offers, 0).id, 10, 1 << 20);
    assert_eq!(before.len(), 1, "the record before it has arrived");
    engine.leave().await;
}
