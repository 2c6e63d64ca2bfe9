//! Orphaned topics: not configured, deleted, or abandoned by an operator.

use std::time::Duration;

use order_tests::{Broker, Deployment, NewRecord, PATIENCE, Service, Topic, events, eventually, until};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use serde_json::{Value, json};

/// Longer than the time after which a service treats a topic as deleted: ten seconds between two metadata responses.
const SURE: Duration = Duration::from_secs(12);

/// The numbers of the orders whose payments wait.
const ORDERS: std::ops::Range<usize> = 0..12;

/// Produces payments of orders that do not exist yet.
async fn pay(topic: &Topic, orders: impl IntoIterator<Item = usize>) {
    let records = orders.into_iter().map(|number| {
        let order = format!("order-{number}");
        NewRecord::json(&order, &events::paid(&order))
    });
    topic.produce(records).await;
}

/// The warnings of the service, which must be ready.
async fn warnings(service: &Service) -> Vec<String> {
    let ready = service.get("/health/ready").await;
    ready["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The `orphaned` reasons of a topic's keys in `/waiting`; null for a key that is not orphaned.
async fn orphaned(service: &Service, topic: &str) -> Vec<Value> {
    let keys = service.get("/waiting").await;
    let rows = keys.as_array().into_iter().flatten().filter(|key| key["topic"] == topic);
    rows.map(|key| key["orphaned"].clone()).collect()
}

async fn partitions(service: &Service) -> usize {
    service.get("/partitions").await.as_array().map_or(0, Vec::len)
}

/// Two instances share a store, and one of them reads an additional topic, as in a rolling deployment. Then follow rebalances, a
/// rollback, and a typo in `KAFKA_TOPIC`.
pub(crate) async fn a_topic_that_is_not_configured_costs_no_event(broker: &Broker) {
    let mut deployment = Deployment::with_partitions(broker, 4).await;
    let second_topic = Deployment::with_partitions(broker, 2).await.events();
    let (first_name, second_name) = (deployment.events().name().to_owned(), second_topic.name().to_owned());
    let both = format!(r#"["{first_name}", "{second_name}"]"#);
    let with_both = [("KAFKA_TOPIC", both.as_str())];

    let mut new = deployment.start_with(&with_both);
    new.wait_ready(PATIENCE).await;
    let old = deployment.start_ready().await;
    pay(&second_topic, ORDERS).await;
    eventually("the payments wait", PATIENCE, async || new.stat("waiting").await == ORDERS.len() as u64).await;

    // A rebalance: another instance starts and stops.
    let further = deployment.start_ready().await;
    eventually("three share", PATIENCE, async || partitions(&further).await > 0).await;
    assert!(further.terminate().await.success());

    // The instance without the topic shows the waiting events of the topic, and is ready.
    until("the topic is shown as orphaned", PATIENCE * 2, async || {
        let (warnings, orphaned) = (warnings(&old).await, orphaned(&old, &second_name).await);
        let is_told = warnings.iter().any(|text| text.contains(&second_name) && text.contains("KAFKA_TOPIC"));
        let all = orphaned.len() == ORDERS.len() && orphaned.iter().all(|cause| cause == "not_configured");
        if is_told && all { Ok(()) } else { Err(format!("{warnings:?} {orphaned:?}")) }
    })
    .await;
    deployment.set("APP_PORT", old.address().rsplit(':').next().unwrap_or_default());
    let give_up = ["waiting", "dead-letter", "--topic", &second_name, "--yes", "--output", "json"];
    let refused = deployment.run(give_up).await.expect_code(1);
    assert!(refused.stderr.contains("continues with its waiting events"), "{}", refused.stderr);

    // A rollback: no instance reads the topic. Then a start with a misspelt topic, which reads no topic at all.
    assert!(new.terminate().await.success());
    let mut rolled_back = deployment.start();
    let misspelt = deployment.start_with(&[("KAFKA_TOPIC", "order-evnts")]);
    rolled_back.wait_ready(PATIENCE).await;
    // There is no condition for the absence of a change, so the test sleeps.
    tokio::time::sleep(SURE).await;
    assert_eq!(deployment.dead_letters().read(), [], "there are no dead letters");
    drop(misspelt);

    let listed = deployment.run(["waiting", "list", "--output", "json"]).await.expect_code(0).json();
    let listed_causes: Vec<_> = listed.as_array().into_iter().flatten().map(|key| &key["orphaned"]).collect();
    assert_eq!(listed_causes, ["not_configured"; ORDERS.end], "{listed}");

    // The topic is configured again, and its events are handled.
    let mut again = deployment.start_with(&with_both);
    again.wait_ready(PATIENCE).await;
    let orders = ORDERS.map(|number| {
        let order = format!("order-{number}");
        NewRecord::json(&order, &events::created(&order))
    });
    deployment.events().produce(orders).await;
    let statuses = async || {
        let mut statuses = Vec::new();
        for number in ORDERS {
            statuses.push(again.ask(&format!("/orders/order-{number}")).await.body["status"].clone());
        }
        statuses
    };
    // A payment that is tried before its order is there uses up an attempt.
    until("every order is there", PATIENCE, async || {
        let statuses = statuses().await;
        if statuses.iter().all(|status| !status.is_null()) { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    // The next attempt may be due only in half a minute.
    again.post("/waiting/retry", &json!({"all": true})).await;
    until("every payment is applied", PATIENCE, async || {
        let statuses = statuses().await;
        if statuses.iter().all(|status| status == "paid") { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    assert_eq!(deployment.dead_letters().read(), [], "there are no dead letters");

    // Finally, the topic is no longer read, and an operator dead-letters its waiting events.
    pay(&second_topic, 100..103).await;
    eventually("further payments wait", PATIENCE, async || again.stat("waiting").await == 3).await;
    assert!(again.terminate().await.success());
    let given_up = until("no member reads the topic", PATIENCE, async || {
        let ended = deployment.run(give_up).await;
        if ended.code == Some(0) { Ok(ended) } else { Err(ended.stderr) }
    })
    .await;
    assert_eq!(given_up.json()["events"], 3, "{given_up:?}");
    until("they are dead letters", PATIENCE, async || {
        let letters = deployment.dead_letters().read();
        let codes: Vec<_> = letters.iter().filter_map(|letter| letter.header("dlq-error-code")).collect();
        if codes.len() == 3 && codes.iter().all(|code| code == "not_yet" || code == "released") {
            Ok(())
        } else {
            Err(format!("{codes:?}"))
        }
    })
    .await;
    eventually("nothing is orphaned any more", PATIENCE, async || warnings(&old).await.is_empty()).await;
    assert!(old.terminate().await.success());
    assert!(rolled_back.terminate().await.success());
}

/// The topic is deleted: its waiting events become dead letters, because they can never be handled.
pub(crate) async fn waiting_events_of_a_deleted_topic_become_dead_letters(broker: &Broker) {
    let deployment = Deployment::with_partitions(broker, 2).await;
    let second_topic = Deployment::with_partitions(broker, 2).await.events();
    let both = format!(r#"["{}", "{}"]"#, deployment.events().name(), second_topic.name());
    let mut service = deployment.start_with(&[("KAFKA_TOPIC", &both)]);
    service.wait_ready(PATIENCE).await;
    pay(&second_topic, 0..3).await;
    eventually("the payments wait", PATIENCE, async || service.stat("waiting").await == 3).await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("an admin client");
    let deleted = admin.delete_topics(&[second_topic.name()], &AdminOptions::new()).await.expect("the broker answers");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    until("they are dead letters", PATIENCE * 2, async || {
        let letters = deployment.dead_letters().read();
        let codes: Vec<_> = letters.iter().filter_map(|letter| letter.header("dlq-error-code")).collect();
        if codes == ["source_gone"; 3] { Ok(()) } else { Err(format!("{codes:?}; {}", service.log())) }
    })
    .await;
    assert!(service.terminate().await.success());
}
