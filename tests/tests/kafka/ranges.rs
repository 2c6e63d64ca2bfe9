//! Replays of topic ranges beside the service.

use order_tests::{Deployment, NewRecord, PATIENCE, events, until};
use serde_json::json;

#[tokio::test]
async fn a_range_runs_again_beside_the_service_and_counts_once() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 2).await.with("KAFKA_AUTO_OFFSET_RESET", "latest");
    let topic = deployment.events();
    // With this policy, records from before the first start of the service are not handled …
    let orders = ["order-1", "order-2", "order-3"];
    let both =
        |order: &str| [NewRecord::json(order, &events::created(order)), NewRecord::json(order, &events::paid(order))];
    topic.produce(orders.into_iter().flat_map(both)).await;
    let service = deployment.start_ready().await;
    topic.produce([NewRecord::json("order-4", &events::created("order-4"))]).await;
    topic.produce([NewRecord::json("order-4", &events::shipped("order-4"))]).await;
    until("the service has handled its events", PATIENCE, async || {
        let stats = service.get("/stats").await;
        if stats["ok"] == 1 && stats["deadLettered"] == 1 { Ok(()) } else { Err(stats.to_string()) }
    })
    .await;
    assert_eq!(service.ask("/orders/order-1").await.status, 404);
    let run = async |further: &[&str]| {
        let arguments =
            ["replay", topic.name(), "--yes", "--output", "json"].into_iter().chain(further.iter().copied());
        deployment.run(arguments).await
    };

    // … a shadow reports their outcomes, and changes nothing …
    let shadow = run(&["--shadow"]).await.expect_code(0).json();
    assert_eq!((&shadow["records"], &shadow["handled"], &shadow["deadLettered"]), (&json!(8), &json!(7), &json!(1)));
    assert_eq!((&shadow["same"], &shadow["unknown"], &shadow["different"]), (&json!(2), &json!(6), &json!({})));
    assert_eq!(service.ask("/orders/order-1").await.status, 404);

    // … and a replay applies them once, while the service runs on the same store.
    let replayed = run(&["--from", "beginning", "--to", "end"]).await.expect_code(0).json();
    assert_eq!((&replayed["handled"], &replayed["skipped"]), (&json!(6), &json!(2)), "{replayed}");
    for order in orders {
        assert_eq!(service.get(&format!("/orders/{order}")).await["version"], 2);
    }
    let again = run(&["--partitions", "0,1"]).await.expect_code(0).json();
    assert_eq!((&again["handled"], &again["skipped"]), (&json!(0), &json!(8)), "{again}");
    topic.produce([NewRecord::json("order-1", &events::shipped("order-1"))]).await;
    until("the service continues", PATIENCE, async || {
        let order = service.get("/orders/order-1").await;
        if order["version"] == 3 { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
    assert!(service.terminate().await.success());
    assert_eq!(topic.lag(deployment.group()), 0, "the group is where the service left it");

    // Events from before ids are remembered would be applied again.
    let mut deployment = deployment;
    deployment.set("STORE_RETENTION", "1ms");
    let arguments = ["replay", topic.name(), "--yes"];
    let refused = deployment.run(arguments).await.expect_code(1);
    assert!(refused.stderr.contains("STORE_RETENTION") && refused.stderr.contains("--shadow"), "{refused:?}");
    let missing = deployment.run(["replay", topic.name(), "--partitions", "7"]).await.expect_code(1);
    assert!(missing.stderr.contains("has no partition 7; it has 0 to 1"), "{missing:?}");
}
