//! Which partition a key goes to: the one that Java's producers choose, so that several producers keep a key's order.

use super::{Arc, HeaderBlock, KafkaPublisher, OutgoingRecord, Publisher as _, broker};
use crate::broker::embedded::PARTITIONS;

/// Java's `Utils.murmur2`, by the vectors of its own test (`UtilsTest.testMurmur2`).
const HASHES: [(&[u8], i32); 6] = [
    (b"21", -973_932_308),
    (b"foobar", -790_332_482),
    (b"a-little-bit-long-string", -985_981_536),
    (b"a-little-bit-longer-string", -1_486_304_829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
    (b"abc", 479_470_107),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_key_goes_to_the_partition_that_java_chooses() {
    let (_broker, config) = broker().await;
    let publisher = KafkaPublisher::new(&config).expect("properties are valid");
    let record = |key: &[u8]| OutgoingRecord {
        topic: "things".into(),
        partition: None,
        key: Some(key.to_vec().into()),
        payload: Some(b"{}".to_vec().into()),
        headers: HeaderBlock::default(),
        timestamp: None,
    };
    let records = HASHES.iter().map(|(key, _)| Arc::new(record(key))).collect();
    let placed: Vec<i32> = publisher
        .publish(records)
        .await
        .into_iter()
        .map(|result| result.expect("the broker takes it").partition)
        .collect();
    let chosen: Vec<i32> = HASHES.iter().map(|(_, hash)| (hash & 0x7fff_ffff) % PARTITIONS).collect();
    assert_eq!(placed, chosen);
}
