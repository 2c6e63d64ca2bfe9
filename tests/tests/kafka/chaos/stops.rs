//! Stops of the service in every situation.

use std::time::{Duration, Instant};

use order_tests::{Broker, Deployment, Kafka, NewRecord, PATIENCE, Service, events::event_with_id, eventually};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};
use serde_json::{Value, json};

/// An event of a ledger for the scripted domain.
pub(super) fn entry(ledger: &str, number: u32, script: Value) -> NewRecord {
    let data = json!({"ledgerId": ledger, "entry": number, "script": script});
    NewRecord::json(ledger, &event_with_id(&format!("{ledger}-{number}"), "EntryRecorded", &data))
}

/// The applied entries of a ledger, from the read model; empty if it does not exist.
pub(super) async fn applied(service: &Service, ledger: &str) -> Vec<u64> {
    let answer = service.ask(&format!("/ledgers/{ledger}")).await;
    let entries = answer.body["applied"].as_array().cloned().unwrap_or_default();
    entries.iter().filter_map(Value::as_u64).collect()
}

/// Waits until the ledger has exactly these entries.
pub(super) async fn holds(service: &Service, ledger: &str, entries: &[u64]) {
    eventually(&format!("{ledger} holds {entries:?}"), PATIENCE, async || applied(service, ledger).await == entries)
        .await;
}

async fn in_flight(deployment: &Deployment, service: &Service, records: Vec<NewRecord>) {
    let before = service.stat("consumed").await;
    let count = records.len() as u64;
    deployment.events().produce(records).await;
    eventually("they are under way", PATIENCE, async || service.stat("consumed").await >= before + count).await;
}

#[tokio::test]
async fn an_idle_service_stops_at_once() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let service = deployment.start_ready().await;
    let start = Instant::now();
    assert!(service.terminate().await.success());
    assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());
}

/// One event is slow, one waits for its next attempt, one is dead-lettered. The stop does not wait for the back-off, and no event
/// is lost.
#[tokio::test]
async fn a_stop_with_everything_under_way_is_clean() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let service = deployment.start_ready().await;
    let scripts = [json!({"wait": 3000}), json!({"fail": 8}), json!("refuse")];
    let records = (1..).zip(scripts).map(|(number, script)| entry(&format!("ledger-{number}"), 1, script));
    in_flight(&deployment, &service, records.collect()).await;
    assert!(service.terminate().await.success(), "the exit is clean");
    let service = deployment.start_ready().await;
    holds(&service, "ledger-1", &[1]).await;
    holds(&service, "ledger-2", &[1]).await;
    eventually("the dead letter has left", PATIENCE, async || deployment.dead_letters().read().len() == 1).await;
    assert!(service.terminate().await.success());
    assert_eq!(deployment.events().lag(deployment.group()), 0);
}

/// A member that does not leave the group would delay the next member for a whole session.
#[tokio::test]
async fn a_stop_leaves_the_group_at_once() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let service = deployment.start_ready().await;
    in_flight(&deployment, &service, (1..10).map(|number| entry("ledger", number, json!("apply"))).collect()).await;
    assert!(service.terminate().await.success());
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("a client");
    let groups = client.fetch_group_list(Some(deployment.group()), PATIENCE).expect("the broker answers");
    assert_eq!(groups.groups().iter().map(|group| group.members().len()).sum::<usize>(), 0, "no member is left");
}

/// A session takes 45 s in both protocols. The next instance must get the partitions long before that.
async fn the_next_one_has_the_partitions_at_once(name: &str, value: &str) {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await.with(name, value);
    let mut service = deployment.start_ready().await;
    for number in 1..=2 {
        // Its offset is being committed while the service stops.
        deployment.events().produce([entry("ledger", number, json!("apply"))]).await;
        let expected: Vec<u64> = (1..=number.into()).collect();
        holds(&service, "ledger", &expected).await;
        assert!(service.terminate().await.success());
        let start = Instant::now();
        service = deployment.start_ready().await;
        assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn the_next_one_has_the_partitions_at_once_in_the_classic_protocol() {
    the_next_one_has_the_partitions_at_once("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "45000").await;
}

#[tokio::test]
async fn the_next_one_has_the_partitions_at_once_in_the_newer_protocol() {
    the_next_one_has_the_partitions_at_once("KAFKA_GROUP_PROTOCOL", "consumer").await;
}

/// The lag also grows while nothing is fetched. The service is live and not ready.
#[tokio::test]
async fn a_pause_keeps_the_lag_true() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let service = deployment.start_ready().await;
    in_flight(&deployment, &service, vec![entry("ledger", 1, json!("apply"))]).await;
    assert_eq!(service.post("/consumer/pause", &Value::Null).await.status, 200);
    deployment.events().produce((2..=4).map(|number| entry("ledger", number, json!("apply")))).await;
    eventually("the lag is reported", PATIENCE, async || service.stat("lag").await == 3).await;
    assert_eq!(service.ask("/health/live").await.status, 200);
    let ready = service.ask("/health/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.to_string().contains("an operator has paused consumption"), "{}", ready.body);
    eventually("every partition is paused", PATIENCE, async || {
        let partitions = service.get("/partitions").await;
        partitions.as_array().expect("a list").iter().all(|partition| partition["state"] == "paused")
    })
    .await;
    assert_eq!(applied(&service, "ledger").await, [1]);
    assert_eq!(service.post("/consumer/resume", &Value::Null).await.status, 200);
    holds(&service, "ledger", &[1, 2, 3, 4]).await;
    eventually("nothing is left", PATIENCE, async || service.stat("lag").await == 0).await;
    assert_eq!(service.ask("/health").await.status, 200);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let mut service = deployment.start_ready().await;
    // A blocked thread cannot be stopped.
    in_flight(&deployment, &service, vec![entry("ledger", 1, json!({"block": 9000}))]).await;
    service.ask_to_stop();
    eventually("it is stopping", PATIENCE, async || service.log().contains("SIGTERM")).await;
    service.ask_to_stop();
    let start = Instant::now();
    let status = service.wait_ended(Duration::from_secs(5)).await;
    assert!(!status.success(), "an exit in the middle of work is not clean");
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
    let service = deployment.start_ready().await;
    holds(&service, "ledger", &[1]).await;
}

#[tokio::test]
async fn a_stop_finishes_while_the_broker_hangs() {
    let Some(kafka) = Kafka::fragile() else { return };
    let _alone = kafka.alone().await;
    let deployment = Deployment::of_scripts(&Broker::fragile(kafka), 2).await;
    let mut service = deployment.start_ready().await;
    let records = (1..100).map(|number| entry("ledger", number, json!("apply")));
    in_flight(&deployment, &service, records.collect()).await;
    kafka.control("pause").await;
    service.ask_to_stop();
    let status = service.wait_ended(Duration::from_secs(30)).await;
    kafka.control("cont").await;
    assert!(status.code().is_some(), "it exits by itself, not by a signal: {status}");
    let service = deployment.start_ready().await;
    holds(&service, "ledger", &(1..100).collect::<Vec<_>>()).await;
}

/// A processor blocks the only worker thread for longer than a session. Heartbeats and HTTP have their own threads.
#[tokio::test]
async fn a_blocked_thread_costs_neither_the_group_nor_http() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await.with("APP_WORKERS", "1");
    let service = deployment.start_ready().await;
    deployment.events().produce([entry("ledger", 1, json!({"block": 8000}))]).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(9) {
        service.get("/stats").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    holds(&service, "ledger", &[1]).await;
    assert!(!service.log().contains("session"), "the group has kept it: {}", service.log());
    assert!(service.terminate().await.success());
}
