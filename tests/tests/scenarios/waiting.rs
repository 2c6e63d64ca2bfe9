//! Waiting events, whose order does not exist yet.

use std::collections::BTreeMap;

use order_tests::{Broker, Deployment, NewRecord, PATIENCE, accounting::settled, events, eventually, until};

pub(crate) async fn an_event_waits_for_its_order(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    // Two partitions for one order: there is no order across partitions, so the payment may arrive first.
    let early = [events::paid("order-late"), events::shipped("order-late")];
    let early = early.iter().map(|event| NewRecord::json("order-late", event).to_partition(0));
    deployment.events().produce(early).await;
    eventually("both events wait", PATIENCE, async || service.stat("waiting").await >= 2).await;

    // Events of other keys in the same partition are not delayed.
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
    assert_eq!(deployment.dead_letters().read(), [], "no event was dead-lettered");
}

pub(crate) async fn an_order_that_never_comes_exhausts_its_events(broker: &Broker) {
    let deployment = Deployment::new(broker).await.with("APP_RETRY_MAX_ELAPSED", "1s");
    let service = deployment.start_ready().await;
    let orphans = [events::paid("order-never"), events::shipped("order-never")];
    deployment.events().produce(orphans.iter().map(|event| NewRecord::json("order-never", event))).await;
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert!(expected.orders.is_empty());
    assert_eq!(expected.dead_letters.values().collect::<Vec<_>>(), [&"exhausted", &"exhausted"]);
    let mut attempts = BTreeMap::new();
    for letter in deployment.dead_letters().read() {
        let event = letter.header("dlq-event-name").unwrap();
        attempts.insert(event, letter.header("dlq-attempts").unwrap().parse::<u32>().unwrap());
    }
    assert!(
        attempts["OrderPaid"] > 1,
        "the first event of the key is retried until its budget is exhausted: {attempts:?}"
    );
    assert_eq!(
        attempts["OrderShipped"], 1,
        "the event behind it, whose budget is exhausted too, has one attempt: {attempts:?}"
    );
}

pub(crate) async fn waiting_keys_are_listed_and_released(broker: &Broker) {
    let mut deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    let port = service.address().rsplit(':').next().unwrap().to_owned();
    deployment.set("APP_PORT", &port);
    let orphans = [events::paid("order-1"), events::shipped("order-1"), events::paid("order-2")];
    let keys = ["order-1", "order-1", "order-2"];
    deployment.events().produce(keys.iter().zip(&orphans).map(|(key, event)| NewRecord::json(key, event))).await;
    eventually("all of them wait", PATIENCE, async || service.stat("waiting").await == 3).await;

    let listed = deployment.run(["waiting", "list", "--output", "json"]).await.expect_code(0).json();
    let mut seen: Vec<_> =
        listed.as_array().unwrap().iter().map(|row| (row["key"].clone(), row["events"].clone())).collect();
    seen.sort_by_key(|(key, _)| key.to_string());
    assert_eq!(seen, [("order-1".into(), 2.into()), ("order-2".into(), 1.into())], "{listed}");
    assert_eq!(listed[0]["errorCode"], "not_yet", "{listed}");
    assert_eq!(service.get("/waiting").await.as_array().map(Vec::len), Some(2));

    deployment.run(["waiting", "dead-letter"]).await.expect_code(2);
    let released = deployment.run(["waiting", "dead-letter", "order-2", "--output", "json"]).await.expect_code(0);
    assert_eq!(released.json()["released"], 1);
    until("it is a dead letter", PATIENCE, async || {
        let letters = deployment.dead_letters().read();
        let ids: Vec<_> = letters.iter().filter_map(|letter| letter.header("dlq-event-id")).collect();
        if ids == [orphans[2]["eventId"].as_str().unwrap()] { Ok(()) } else { Err(format!("{ids:?}")) }
    })
    .await;
    // On another partition than the events that wait for it, because on the same one it would wait behind them.
    let row = listed.as_array().unwrap().iter().find(|row| row["key"] == "order-1").unwrap();
    let other = i32::try_from(row["partition"].as_i64().unwrap() + 1).unwrap() % 4;
    let order = NewRecord::json("order-1", &events::created("order-1")).to_partition(other);
    deployment.events().produce([order]).await;
    until("the order is there", PATIENCE, async || {
        let answer = service.ask("/orders/order-1").await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.body)) }
    })
    .await;
    deployment.run(["waiting", "retry", "--all"]).await.expect_code(0);
    eventually("the other key is handled", PATIENCE, async || service.stat("waiting").await == 0).await;
    let order = service.get("/orders/order-1").await;
    assert_eq!(order["version"], 3, "{order}");
    service.terminate().await;
    let alone = deployment.run(["waiting", "retry", "--all"]).await.expect_code(1);
    assert!(alone.stderr.contains("it must be running"), "{}", alone.stderr);
}
