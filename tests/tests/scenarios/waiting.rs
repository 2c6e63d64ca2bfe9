//! Events whose order is not there yet.

use order_tests::{Broker, Deployment, NewRecord, PATIENCE, accounting::settled, events, eventually, until};

pub(crate) async fn an_event_waits_for_its_order(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    // Two partitions for one order: what comes before what is nobody's promise, so the payment may well arrive first.
    let early = [events::paid("order-late"), events::shipped("order-late")];
    let early = early.iter().map(|event| NewRecord::json("order-late", event).to_partition(0));
    deployment.events().produce(early).await;
    eventually("both events wait", PATIENCE, async || service.stat("waiting").await >= 2).await;

    // Others of the same partition flow past them.
    let other = NewRecord::json("order-other", &events::created("order-other")).to_partition(0);
    deployment.events().produce([other]).await;
    until("an order of the same partition is processed", PATIENCE, async || {
        let answer = service.ask("/orders/order-other").await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.body)) }
    })
    .await;

    let order = NewRecord::json("order-late", &events::created("order-late")).to_partition(1);
    deployment.events().produce([order]).await;
    until("all three events are applied", PATIENCE, async || {
        let order = service.ask("/orders/order-late").await.body;
        if order["version"] == 3 { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
    eventually("nothing waits any more", PATIENCE, async || service.stat("waiting").await == 0).await;
    assert_eq!(deployment.dead_letters().read(), [], "nothing was given up");
}

pub(crate) async fn an_order_that_never_comes_exhausts_its_events(broker: &Broker) {
    let deployment = Deployment::new(broker).await.with("APP_RETRY_MAX_ELAPSED", "1s");
    let service = deployment.start_ready().await;
    let orphans = [events::paid("order-never"), events::shipped("order-never")];
    deployment.events().produce(orphans.iter().map(|event| NewRecord::json("order-never", event))).await;
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert!(expected.orders.is_empty());
    assert_eq!(expected.dead_letters.values().collect::<Vec<_>>(), [&"exhausted", &"exhausted"]);
    for letter in deployment.dead_letters().read() {
        let attempts: u32 = letter.header("dlq-attempts").unwrap().parse().unwrap();
        assert!(attempts >= 1, "it was tried before it was given up");
    }
}
