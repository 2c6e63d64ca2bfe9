//! The command line, as scripts use it.

use order_tests::{Broker, Deployment, NewRecord, PATIENCE, accounting::settled, events, free_port, until};

const EVENTS: [&str; 5] = ["OrderCreated", "OrderPaid", "OrderShipped", "OrderDelivered", "OrderCancelled"];

pub(crate) async fn check_names_what_is_wrong(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    deployment.publish_sample(1, &["--seed", "6"]).await;
    deployment.run(["check"]).await.expect_code(0);
    let unavailable = format!("127.0.0.1:{}", free_port());
    let failed = deployment.with("KAFKA_BROKER_URL", &unavailable).run(["check"]).await.expect_code(1);
    let output = format!("{}{}", failed.stdout, failed.stderr);
    assert!(output.contains(&unavailable), "it names the unavailable broker: {output}");
}

pub(crate) async fn wrong_settings_are_all_named(broker: &Broker) {
    let deployment = Deployment::new(broker).await.with("APP_PORT", "eighty").with("APP_WORKERS", "-1");
    for command in ["check", "config"] {
        let failed = deployment.run([command]).await.expect_code(2);
        let output = format!("{}{}", failed.stdout, failed.stderr);
        for name in ["APP_PORT", "eighty", "APP_WORKERS"] {
            assert!(output.contains(name), "{command} names {name}: {output}");
        }
    }
}

pub(crate) async fn config_keeps_secrets(broker: &Broker) {
    let deployment = Deployment::new(broker)
        .await
        .with("KAFKA_SASL_PASSWORD", "swordfish")
        .with("APP_ADMIN_TOKEN", "open-sesame-open-sesame-open-sesame");
    for format in ["table", "json"] {
        let shown = deployment.run(["config", "--output", format]).await.expect_code(0);
        assert!(shown.stdout.contains("KAFKA_GROUP_ID") && shown.stdout.contains(deployment.group()), "{shown:?}");
        assert!(shown.stdout.contains("APP_ADMIN_TOKEN"), "a secret is listed as set: {shown:?}");
        for secret in ["swordfish", "open-sesame"] {
            assert!(!shown.stdout.contains(secret) && !shown.stderr.contains(secret), "{shown:?}");
        }
    }
}

pub(crate) async fn processors_are_listed_offline(broker: &Broker) {
    let unavailable = format!("127.0.0.1:{}", free_port());
    let deployment = Deployment::new(broker).await.with("KAFKA_BROKER_URL", &unavailable);
    let table = deployment.run(["processors"]).await.expect_code(0);
    let json = deployment.run(["processors", "--output", "json"]).await.expect_code(0).json();
    for event in EVENTS {
        let processor = format!("EventProcessor_{event}");
        assert!(table.stdout.contains(event) && table.stdout.contains(&processor), "{table:?}");
        assert!(json.to_string().contains(&processor), "{json}");
    }
}

pub(crate) async fn the_entities_keep_what_was_released(broker: &Broker) {
    let nobody = format!("127.0.0.1:{}", free_port());
    let deployment = Deployment::new(broker).await.with("KAFKA_BROKER_URL", &nobody);
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../order-service/entities.lock");
    deployment.run(["entities", "--check", lock]).await.expect_code(0);
    let listed = deployment.run(["entities", "--output", "json"]).await.expect_code(0).json();
    assert_eq!((&listed[0]["entity"], &listed[0]["table"]), (&"Order".into(), &"orders".into()));

    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("entities.lock");
    let text = std::fs::read_to_string(lock).expect("the lock of the service");
    std::fs::write(&other, text.replace("\"currency\"", "\"valuta\"")).expect("a file");
    let other = other.to_str().expect("a path in UTF-8");
    let failed = deployment.run(["entities", "--check", other]).await.expect_code(1);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert!(said.contains("orders.valuta was released") && said.contains("orders.currency is new"), "{said}");
    deployment.run(["entities", "--lock", other]).await.expect_code(1);
}

pub(crate) async fn dead_letters_are_listed_shown_and_replayed(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    let produce = async |event| deployment.events().produce([NewRecord::json("order-1", &event)]).await;
    produce(events::created("order-1")).await;
    produce(events::shipped("order-1")).await;
    settled(&deployment, &service, PATIENCE).await;
    let letters = deployment.dead_letters().read();
    let id = letters[0].header("dlq-id").unwrap();

    let listed = deployment.run(["dlq", "list", "--output", "json"]).await.expect_code(0);
    assert!(listed.json().to_string().contains(&id), "{listed:?}");
    let shown = deployment.run(["dlq", "show", &id]).await.expect_code(0);
    assert!(shown.stdout.contains("rejected") && shown.stdout.contains("OrderShipped"), "{shown:?}");

    // The order is paid, so the event can be replayed.
    produce(events::paid("order-1")).await;
    until("the payment is applied", PATIENCE, async || {
        let order = service.get("/orders/order-1").await;
        if order["version"] == 2 { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
    let replay = ["dlq", "replay", "--reason", "rejected", "--yes"];
    deployment.run(replay.iter().chain(&["--dry-run"])).await.expect_code(0);
    assert_eq!(service.get("/orders/order-1").await["version"], 2, "a dry run changes nothing");
    // An empty selection does not select everything, and an unknown id is reported.
    deployment.run(["dlq", "replay", "--yes"]).await.expect_code(2);
    let unknown = "0123456789abcdef0123456789abcdef";
    for command in ["replay", "park", "unpark", "purge"] {
        let failed = deployment.run(["dlq", command, unknown, "--yes"]).await.expect_code(1);
        assert!(failed.stderr.contains(unknown), "{command}: {failed:?}");
    }
    deployment.run(replay).await.expect_code(0);
    until("the replayed event is applied", PATIENCE, async || {
        let order = service.get("/orders/order-1").await;
        if order["version"] == 3 { Ok(()) } else { Err(order.to_string()) }
    })
    .await;
    assert_eq!(deployment.dead_letters().read().len(), 1, "a replay that succeeds makes no new dead letter");
}
