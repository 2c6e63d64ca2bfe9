//! Every event has one outcome: applied once, or dead-lettered once.

use order_tests::{Broker, Deployment, NewRecord, PATIENCE, accounting::settled, events};

pub(crate) async fn a_sample_is_processed(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    deployment.publish_sample(100, &["--seed", "1"]).await;
    let service = deployment.start_ready().await;
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert_eq!(expected.orders.len(), 100, "each order of a sample is a valid life");
    assert!(expected.dead_letters.is_empty(), "a sample without bad events: {:?}", expected.dead_letters);
    assert_eq!(service.stat("ok").await, expected.applied());
}

pub(crate) async fn bad_events_become_dead_letters(broker: &Broker) {
    // Bad events may belong to orders that never exist; this limits the time of their retries.
    let deployment = Deployment::new(broker).await.with("APP_RETRY_MAX_ELAPSED", "1s");
    deployment.publish_sample(200, &["--seed", "2", "--bad-rate", "0.05"]).await;
    // Records that are not in a sample: not JSON, empty, a key that is not text, headers of the producer.
    let raw = [
        NewRecord::bytes("order-raw", [0xff, 0x00, 0x7b]),
        NewRecord { key: Some(vec![0xc3, 0x28]), payload: None, ..NewRecord::default() },
        NewRecord::bytes("order-raw", "{").with_header("trace", b"\xfe\x00").with_header("trace", b"again"),
    ];
    deployment.events().produce(raw).await;
    let service = deployment.start_ready().await;
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert_eq!(expected.orders.len(), 200, "bad events are additional to the orders");
    assert!(expected.dead_letters.len() > 3, "a bad rate of 5 % produces bad events");
    let count = u64::try_from(expected.dead_letters.len()).unwrap();
    assert_eq!(service.stat("deadLettered").await, count);
}

pub(crate) async fn duplicates_count_once(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    deployment.publish_sample(100, &["--seed", "3", "--duplicate-rate", "0.1"]).await;
    let service = deployment.start_ready().await;
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert!(expected.repeats > 0, "a duplicate rate of 10 % produces duplicates");
    assert_eq!(expected.orders.len(), 100);
}

pub(crate) async fn a_forbidden_step_is_rejected(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    let life = [events::created("order-1"), events::cancelled("order-1"), events::shipped("order-1")];
    deployment.events().produce(life.iter().map(|event| NewRecord::json("order-1", event))).await;
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert_eq!(expected.dead_letters.values().collect::<Vec<_>>(), [&"rejected"]);
    let order = service.get("/orders/order-1").await;
    assert_eq!(order["version"], 2, "the order is as it was before: {order}");
    let letters = deployment.dead_letters().read();
    assert_eq!(letters[0].header("dlq-event-name").as_deref(), Some("OrderShipped"));
    assert_eq!(letters[0].header("dlq-event-id").as_deref(), life[2]["eventId"].as_str());
    assert_eq!(letters[0].header("dlq-processor").as_deref(), Some("EventProcessor_OrderShipped"));
}
