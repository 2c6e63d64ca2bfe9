//! Changes of topics and offsets by operators and producers.

use std::time::Duration;

use order_tests::{Deployment, PATIENCE, Service, eventually, until};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::json;

use super::stops::{applied, entry, holds};

fn client() -> ClientConfig {
    let broker = order_tests::Broker::kafka().expect("the test has started the broker");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address());
    config
}

fn admin() -> AdminClient<DefaultClientContext> {
    client().create().expect("an admin client")
}

async fn three(deployment: &Deployment) -> Service {
    let service = deployment.start_ready().await;
    let records = (1..=3).map(|number| entry("ledger", number, json!("apply")).to_partition(0));
    deployment.events().produce(records).await;
    holds(&service, "ledger", &[1, 2, 3]).await;
    service
}

/// Commits an offset of partition 0 for the group, like an operator's tool while the group has no members.
async fn commit(deployment: &Deployment, offset: i64) {
    let consumer: BaseConsumer = client().set("group.id", deployment.group()).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(deployment.events().name(), 0, Offset::Offset(offset)).expect("an offset");
    until("the group has no members, and takes an offset", PATIENCE, async || {
        consumer.commit(&list, CommitMode::Sync).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn offsets_moved_back_repeat_nothing() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    assert!(three(&deployment).await.terminate().await.success());
    commit(&deployment, 0).await;
    let service = deployment.start_ready().await;
    deployment.events().produce([entry("ledger", 4, json!("apply")).to_partition(0)]).await;
    holds(&service, "ledger", &[1, 2, 3, 4]).await;
    assert_eq!(service.stat("ok").await, 1, "only the new one is applied");
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn offsets_moved_beyond_the_position_skip_nothing() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    assert!(three(&deployment).await.terminate().await.success());
    deployment.events().produce((4..=6).map(|number| entry("ledger", number, json!("apply")).to_partition(0))).await;
    commit(&deployment, 6).await;
    let service = deployment.start_ready().await;
    holds(&service, "ledger", &[1, 2, 3, 4, 5, 6]).await;
    assert_eq!(service.stat("ok").await, 3, "the store's position counts, so later events are handled");
    assert!(service.terminate().await.success());
}

/// A deleted consumer group: the position is in the store.
#[tokio::test]
async fn a_deleted_group_changes_nothing() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    assert!(three(&deployment).await.terminate().await.success());
    until("the group is deleted", PATIENCE, async || {
        // The broker may still list a departed member for a moment.
        let deleted = admin().delete_groups(&[deployment.group()], &AdminOptions::new()).await;
        let deleted = deleted.expect("the broker answers");
        if deleted.iter().all(Result::is_ok) { Ok(()) } else { Err(format!("{deleted:?}")) }
    })
    .await;
    let service = deployment.start_ready().await;
    deployment.events().produce([entry("ledger", 4, json!("apply")).to_partition(0)]).await;
    holds(&service, "ledger", &[1, 2, 3, 4]).await;
    assert_eq!(service.stat("ok").await, 1, "only the new one is applied");
}

/// Retention has removed unhandled records: this is logged and counted, and the rest is handled.
#[tokio::test]
async fn records_that_the_log_has_dropped_are_reported() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    assert!(three(&deployment).await.terminate().await.success());
    deployment.events().produce((4..=6).map(|number| entry("ledger", number, json!("apply")).to_partition(0))).await;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(deployment.events().name(), 0, Offset::Offset(5)).expect("an offset");
    admin().delete_records(&list, &AdminOptions::new()).await.expect("the broker answers");
    let service = deployment.start_ready().await;
    holds(&service, "ledger", &[1, 2, 3, 6]).await;
    let log = service.log();
    assert!(log.contains("ERROR") && log.contains("skipped=2"), "the loss of two records is logged: {log}");
}

/// Retention removes unhandled records while the service runs.
#[tokio::test]
async fn records_that_the_log_drops_at_run_time_are_reported() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let service = three(&deployment).await;
    service.pause().await;
    deployment.events().produce((4..=6).map(|number| entry("ledger", number, json!("apply")).to_partition(0))).await;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(deployment.events().name(), 0, Offset::Offset(5)).expect("an offset");
    admin().delete_records(&list, &AdminOptions::new()).await.expect("the broker answers");
    service.go_on();
    deployment.events().produce([entry("ledger", 7, json!("apply")).to_partition(0)]).await;
    eventually("it continues after the gap", PATIENCE, async || applied(&service, "ledger").await.ends_with(&[6, 7]))
        .await;
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn a_partition_that_is_added_is_read_from_its_first_record() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await.with("KAFKA_AUTO_OFFSET_RESET", "latest");
    let service = three(&deployment).await;
    let topic = deployment.events();
    let more = NewPartitions::new(topic.name(), 3);
    let made = admin().create_partitions([&more], &AdminOptions::new()).await.expect("the broker answers");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    deployment.events().produce([entry("another", 1, json!("apply")).to_partition(2)]).await;
    holds(&service, "another", &[1]).await;
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn a_topic_may_come_later() {
    let Some(broker) = super::kafka().await else { return };
    let mut deployment = Deployment::of_scripts(&broker, 2).await;
    let name = format!("{}-later", deployment.events().name());
    deployment.set("KAFKA_TOPIC", &name);
    let mut service = deployment.start();
    eventually("it names the missing topic", PATIENCE, async || {
        let answer = service.try_get("/health/live").await.map(|_| ());
        answer.is_some() && service.log().contains(&format!("there is no topic {name}"))
    })
    .await;
    assert_eq!(service.ask("/health/ready").await.status, 503);
    make(&name).await.expect("it is made");
    service.wait_ready(PATIENCE).await;
    assert!(service.terminate().await.success());
}

/// Creates a topic with two partitions.
async fn make(name: &str) -> Result<(), String> {
    let topic = NewTopic::new(name, 2, TopicReplication::Fixed(1));
    let made = admin().create_topics([&topic], &AdminOptions::new()).await.expect("the broker answers");
    if made.iter().all(Result::is_ok) { Ok(()) } else { Err(format!("{made:?}")) }
}

/// A recreated topic is a different topic, with new offsets.
#[tokio::test]
async fn a_recreated_topic_is_read_from_its_first_record() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let service = three(&deployment).await;
    let name = deployment.events().name().to_owned();
    let deleted = admin().delete_topics(&[&name], &AdminOptions::new()).await.expect("the broker answers");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    eventually("it reports the deleted topic", PATIENCE, async || {
        service.log().contains(&format!("there is no topic {name}"))
    })
    .await;
    assert_eq!(service.ask("/health/live").await.status, 200);
    // The broker still lists the deleted topic for a while.
    until("the topic is created again", PATIENCE, async || make(&name).await).await;
    deployment.events().produce([entry("another", 1, json!("apply")).to_partition(0)]).await;
    holds(&service, "another", &[1]).await;
    holds(&service, "ledger", &[1, 2, 3]).await;
    assert!(service.terminate().await.success());
}

/// Transactions of a producer: aborted records are never delivered, and the markers between records delay nothing.
#[tokio::test]
async fn aborted_transactions_are_not_seen() {
    let Some(broker) = super::kafka().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let service = three(&deployment).await;
    let topic = deployment.events().name().to_owned();
    let group = deployment.group().to_owned();
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer =
            client().set("transactional.id", &group).create().expect("a transactional producer");
        producer.init_transactions(PATIENCE).expect("transactions begin");
        for number in 4..=7 {
            producer.begin_transaction().expect("a transaction begins");
            let record = entry("ledger", number, json!("apply"));
            let (key, payload) = (record.key.unwrap_or_default(), record.payload.unwrap_or_default());
            producer.send(BaseRecord::to(&topic).partition(0).key(&key).payload(&payload)).expect("it is queued");
            producer.flush(PATIENCE).expect("it is written");
            let ended = if number % 2 == 0 {
                producer.abort_transaction(PATIENCE)
            } else {
                producer.commit_transaction(PATIENCE)
            };
            ended.expect("the transaction ends");
        }
    })
    .await
    .expect("the producer ends");
    holds(&service, "ledger", &[1, 2, 3, 5, 7]).await;
    // The log ends with a transaction marker, which is never delivered.
    eventually("markers do not count as lag", PATIENCE, async || service.stat("lag").await == 0).await;
    assert_eq!(service.ask("/health").await.status, 200);
    assert!(service.terminate().await.success());
}

/// With more members than partitions, a member without partitions is ready, and takes over when another stops.
#[tokio::test]
async fn a_member_without_partitions_is_ready_and_takes_over() {
    let Some(broker) = super::with_postgres().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await;
    let mut services =
        vec![deployment.start_ready().await, deployment.start_ready().await, deployment.start_ready().await];
    eventually("the partitions are spread", PATIENCE, async || {
        let mut counts = Vec::new();
        for service in &services {
            counts.push(service.get("/partitions").await.as_array().map_or(0, Vec::len));
        }
        counts.sort_unstable();
        counts == [0, 1, 1]
    })
    .await;
    for service in &services {
        assert_eq!(service.ask("/health/ready").await.status, 200);
    }
    assert!(services.remove(0).terminate().await.success());
    deployment
        .events()
        .produce((0..2).map(|number| entry(&format!("l-{number}"), 1, json!("apply")).to_partition(number)))
        .await;
    for ledger in ["l-0", "l-1"] {
        holds(&services[0], ledger, &[1]).await;
    }
}

/// Two instances with the same `group.instance.id`: the first is fenced, logs the reason, and ends with an error.
#[tokio::test]
async fn a_second_instance_of_the_same_name_fences_the_first() {
    let Some(broker) = super::with_postgres().await else { return };
    let deployment = Deployment::of_scripts(&broker, 2).await.with("KAFKA_CONSUMER_GROUP_INSTANCE_ID", "the-only-one");
    let mut first = deployment.start_ready().await;
    let mut second = deployment.start();
    let status = first.wait_ended(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(1), "{}", first.log());
    assert!(first.log().to_lowercase().contains("fenced"), "it logs the reason: {}", first.log());
    second.wait_ready(PATIENCE).await;
    deployment.events().produce([entry("ledger", 1, json!("apply"))]).await;
    holds(&second, "ledger", &[1]).await;
}
