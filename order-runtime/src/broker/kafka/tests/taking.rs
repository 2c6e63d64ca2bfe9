//! The way of records from librdkafka to their partition owners: whatever the owners do, none is lost, repeated or out of order.

use std::time::Instant;

use tokio::runtime::Runtime;

use super::*;
use crate::broker::kafka::fetch_policy::{FetchView, Withheld};

/// Takes until `count` records have arrived, without waiting for notifications, and returns their offsets.
fn take(consumer: &KafkaConsumer, partition: &PartitionId, count: usize) -> Vec<i64> {
    let deadline = Instant::now() + LIMIT;
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records have arrived", taken.len());
        taken.extend(consumer.take(partition, 1_000, 1 << 20).iter().map(|record| record.offset));
        std::thread::yield_now();
    }
    taken
}

#[test]
fn records_are_taken_while_no_worker_is_free() {
    let others = Runtime::new().expect("a runtime");
    let (_broker, config) = others.block_on(broker());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let mut engine = runtime.block_on(async { Engine::join(&config) });
    let offers = runtime.block_on(engine.assigned(|offer| Start::At(offer.log_start)));
    let zero = number(&offers, 0).id.clone();

    others.block_on(publish(&config, 0, &["a"]));
    take(&engine.consumer, &zero, 1);
    // A processor blocks the only worker.
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (blocks, blocked) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        blocks.send(()).expect("the test waits");
        wait.recv().expect("the test sends");
    });
    blocked.recv().expect("the worker begins");
    others.block_on(publish(&config, 0, &["b", "c"]));
    assert_eq!(take(&engine.consumer, &zero, 2), [1, 2]);
    go_on.send(()).expect("the worker waits");
    runtime.block_on(engine.leave());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_one_by_one_and_many_at_once_come_in_their_order() {
    let (_broker, config) = broker().await;
    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    let zero = number(&offers, 0).id.clone();
    let mut next = 0;
    for count in [1, 300, 1, 1, 1_000, 2, 1] {
        let payloads: Vec<String> = (next..next + count).map(|number| number.to_string()).collect();
        publish(&config, 0, &payloads.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let expected: Vec<_> = (next..next + count).map(|number| (number, number.to_string())).collect();
        assert_eq!(engine.take(&zero, usize::try_from(count).expect("few")).await, expected);
        next += count;
    }
    engine.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_nobody_takes_from_holds_up_no_other_and_loses_nothing() {
    let (_broker, config) = broker().await;
    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    let (zero, one) = (number(&offers, 0).id.clone(), number(&offers, 1).id.clone());
    let view = |engine: &Engine| -> FetchView { engine.consumer.shared.inboxes.lock()[&zero].view() };

    // Four times as much as an inbox holds if there are four, and not to be compressed.
    let mut random = 1_u64;
    let mut letter = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + u8::try_from(random >> 58).expect("six bits"))
    };
    let large: Vec<String> = (0..45).map(|_| (0..100_000).map(|_| letter()).collect()).collect();
    publish(&config, 0, &large.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let deadline = Instant::now() + LIMIT;
    while view(&engine).withheld != Some(Withheld::Full) {
        assert!(Instant::now() < deadline, "the full inbox is left out in time: {:?}", view(&engine));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    publish(&config, 1, &["a", "b"]).await;
    assert_eq!(engine.take(&one, 2).await, [(0, "a".to_owned()), (1, "b".to_owned())]);
    assert_eq!(view(&engine).withheld, Some(Withheld::Full), "it is left out until its records are taken");

    assert_eq!(take(&engine.consumer, &zero, 45), (0..45).collect::<Vec<i64>>());
    engine.leave().await;
}
