//! Interference of other programs with the topics and the group of the service: the service reports the cause, and continues if
//! it can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use order_tests::{Broker, Deployment, NewRecord, PATIENCE, Service, events, until};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    producer::{FutureProducer, FutureRecord, Producer as _},
};

/// The time limit for reasons: a transaction is reported as open after ten seconds, and the group's members are read every
/// thirty.
const REPORTED: Duration = Duration::from_mins(2);

async fn set(broker: &Broker, topic: &str, name: &str, value: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.address()).create().expect("an admin client");
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    admin.alter_configs([&change], &AdminOptions::new()).await.expect("an answer").remove(0).expect("it is changed");
}

/// Waits until the service is not ready, for a reason that contains all these words.
async fn not_ready(service: &Service, words: &[&str]) {
    until("readiness names the cause", REPORTED, async || {
        if service.try_text("/health/live").await.is_empty() {
            return Err("it does not listen yet".to_owned());
        }
        let answer = service.ask("/health/ready").await;
        let text = answer.body.to_string();
        if answer.status == 503 && words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
    })
    .await;
}

async fn letters_lie(deployment: &Deployment, count: usize) {
    until("the dead letters lie in their topic", PATIENCE, async || {
        let lie = deployment.dead_letters().read().len();
        if lie == count { Ok(()) } else { Err(format!("{lie} of {count}")) }
    })
    .await;
}

#[tokio::test]
async fn a_compacted_topic_of_dead_letters_keeps_back_only_those_without_a_key() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 1).await;
    let letters = deployment.dead_letters().name().to_owned();
    set(&broker, &letters, "cleanup.policy", "compact").await;
    let checked = deployment.run(["check"]).await.expect_code(1);
    assert!(format!("{checked:?}").contains("is compacted"), "{checked:?}");

    let bad = |key: Option<&str>| NewRecord {
        key: key.map(Into::into),
        payload: Some(b"{".to_vec()),
        ..NewRecord::default()
    };
    let keys = [Some("a"), None, Some("b"), None, Some("a")];
    let service = deployment.start_ready().await;
    deployment.events().produce_all(keys.map(|key| bad(key).to_partition(0))).await;
    letters_lie(&deployment, 3).await;
    let keys: Vec<_> = deployment.dead_letters().read().into_iter().map(|letter| letter.key).collect();
    assert!(keys.iter().all(Option::is_some), "{keys:?}");
    not_ready(&service, &[&letters, "cleanup.policy"]).await;

    set(&broker, &letters, "cleanup.policy", "delete").await;
    letters_lie(&deployment, 5).await;
    until("ready again", PATIENCE, async || {
        let answer = service.ask("/health/ready").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.body.to_string()) }
    })
    .await;
    assert!(service.terminate().await.success());
}

#[tokio::test]
async fn partitions_show_an_open_transaction_as_the_reason() {
    let Some(broker) = super::broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 1).await;
    let service = deployment.start_ready().await;
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("transactional.id", deployment.group())
        .create()
        .expect("a producer");
    producer.init_transactions(PATIENCE).expect("transactions");
    producer.begin_transaction().expect("a transaction");
    let topic = deployment.events().name().to_owned();
    let payload = events::created("order-1").to_string();
    producer.send(FutureRecord::to(&topic).key("order-1").payload(&payload), PATIENCE).await.expect("it is written");
    until("the reason is shown", REPORTED, async || {
        let partitions = service.get("/partitions").await.to_string();
        if partitions.contains("a transaction of a producer") { Ok(()) } else { Err(partitions) }
    })
    .await;
    assert_eq!(service.stat("ok").await, 0);
    producer.commit_transaction(PATIENCE).expect("it is committed");
    until("it is handled", PATIENCE, async || {
        let partitions = service.get("/partitions").await.to_string();
        let handled = service.stat("ok").await == 1 && !partitions.contains("a transaction of a producer");
        if handled { Ok(()) } else { Err(partitions) }
    })
    .await;
    assert!(service.terminate().await.success());
}

fn stranger(broker: &Broker, deployment: &Deployment, assignor: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", deployment.group())
        .set("client.id", "somebody-else")
        .set("partition.assignment.strategy", assignor)
        .create()
        .expect("a consumer");
    consumer.subscribe(&[deployment.events().name()]).expect("a subscription");
    consumer
}

/// A member that polls in the background, until it is dropped.
struct Member {
    stop: Arc<AtomicBool>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Member {
    /// Joins the group, and returns when the member has the topic's only partition.
    async fn takes_all(consumer: BaseConsumer) -> Self {
        let member = Self { stop: Arc::default() };
        let stop = Arc::clone(&member.stop);
        let (has_it, taken) = tokio::sync::oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let mut has_it = Some(has_it);
            while !stop.load(Ordering::Relaxed) {
                let _ = consumer.poll(Duration::from_millis(100));
                if consumer.assignment().is_ok_and(|list| list.count() == 1)
                    && let Some(has_it) = has_it.take()
                {
                    let _ = has_it.send(());
                }
            }
        });
        tokio::time::timeout(PATIENCE, taken).await.expect("in time").expect("it takes the partition");
        member
    }
}

#[tokio::test]
async fn members_that_are_no_instances_are_named() {
    let Some(broker) = super::broker().await else { return };
    // A member with the same assignor takes the only partition; one with another assignor prevents the service from joining.
    for (assignor, word) in [("cooperative-sticky", "not instances of this service"), ("roundrobin", "assignor")] {
        let deployment = Deployment::with_partitions(&broker, 1).await;
        let _member = Member::takes_all(stranger(&broker, &deployment, assignor)).await;
        let service = deployment.start();
        not_ready(&service, &["somebody-else", word]).await;
        service.kill();
    }
}
