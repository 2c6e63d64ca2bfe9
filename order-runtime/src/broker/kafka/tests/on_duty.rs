//! Records are taken both by the poll thread and by the task of the runtime.

use std::time::Instant;

use tokio::runtime::Runtime;

use super::*;

/// Takes until `count` records have arrived, without waiting for notifications.
fn take(consumer: &KafkaConsumer, partition: &PartitionId, count: usize) {
    let deadline = Instant::now() + LIMIT;
    let mut taken = 0;
    while taken < count {
        assert!(Instant::now() < deadline, "{taken} of {count} records have arrived");
        taken += consumer.take(partition, 1_000, 1 << 20).len();
        std::thread::yield_now();
    }
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
    // A processor blocks, so that the task, which is on duty by now, does not run.
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let (blocks, blocked) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        blocks.send(()).expect("the test waits");
        wait.recv().expect("the test sends");
    });
    blocked.recv().expect("the worker begins");
    others.block_on(publish(&config, 0, &["b", "c"]));
    take(&engine.consumer, &zero, 2);
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
    // Alternately for the task and for the thread.
    for count in [1, 300, 1, 1, 1_000, 2, 1] {
        let payloads: Vec<String> = (next..next + count).map(|number| number.to_string()).collect();
        publish(&config, 0, &payloads.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let expected: Vec<_> = (next..next + count).map(|number| (number, number.to_string())).collect();
        assert_eq!(engine.take(&zero, usize::try_from(count).expect("few")).await, expected);
        next += count;
    }
    engine.leave().await;
}
