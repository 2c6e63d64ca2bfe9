//! Errors of single requests, as brokers return them now and then, and a coordinator that moves.

use rdkafka::{
    mocking::{MockCluster, MockCoordinator},
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code},
};

use super::*;
use crate::{broker::embedded::NAME_TOPIC, model::TopicPattern};

/// Three brokers with one topic of one partition, and a member's settings in the classic protocol.
fn cluster() -> (MockCluster<'static, DefaultProducerContext>, KafkaConfig) {
    let cluster = MockCluster::new(3).expect("librdkafka has a mock cluster");
    cluster.create_topic("things", 1, 3).expect("a topic");
    // Marks the cluster as an embedded broker.
    cluster.create_topic(&format!("{NAME_TOPIC}errors"), 1, 1).expect("a topic");
    let mut config = Config::default().kafka;
    config.brokers = cluster.bootstrap_servers();
    config.topics = vec![TopicPattern::named("things")];
    for (name, value) in
        [("group.protocol", "classic"), ("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")]
    {
        config.consumer_properties.insert(name.to_owned(), crate::config::Secret::new(value));
    }
    (cluster, config)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, waited).await.is_ok(), "timed out waiting until {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_single_requests_pass() {
    use Code::*;
    let (cluster, config) = cluster();
    cluster.request_errors(
        Api::Produce,
        &[
            RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        ],
    );
    publish(&config, 0, &["a", "b"]).await;

    let not_yet = [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE];
    for api in [Api::FindCoordinator, Api::JoinGroup, Api::SyncGroup, Api::OffsetFetch] {
        cluster.request_errors(api, &not_yet);
    }
    cluster.request_errors(
        Api::ListOffsets,
        &[RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR],
    );
    cluster.request_errors(
        Api::Fetch,
        &[
            RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        ],
    );
    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    let id = offers[0].id.clone();
    assert_eq!(engine.take(&id, 2).await.len(), 2);

    cluster.request_errors(Api::OffsetCommit, &not_yet);
    engine.consumer.store_offset(&id, 2, "store-id");
    publish(&config, 0, &["c"]).await;
    assert_eq!(engine.take(&id, 1).await, [(2, "c".to_owned())]);
    engine.leave().await;
    let metadata = MetadataClient::new(&config).expect("properties are valid");
    let asked = tokio::task::spawn_blocking(move || metadata.offers(&id.cluster, &[("things".to_owned(), 0)], None));
    let offers = asked.await.expect("it ends").expect("an answer");
    assert_eq!(offers[0].committed, Some(2), "committed nevertheless");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_permission_is_reported_until_records_arrive_again() {
    let (cluster, config) = cluster();
    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    cluster.request_errors(Api::Fetch, &[Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 3]);
    let is_told = || engine.consumer.health().not_ready.iter().any(|reason| reason.contains("grant it READ"));
    until("the lost permission is reported", is_told).await;
    assert_eq!(engine.consumer.health().not_live, Vec::<String>::new());
    publish(&config, 0, &["a"]).await;
    until("the report ends", || !is_told()).await;
    assert_eq!(engine.take(&offers[0].id, 1).await, [(0, "a".to_owned())]);
    engine.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_moves_is_followed() {
    let (cluster, config) = cluster();
    let coordinator = |broker| {
        let group = MockCoordinator::Group(config.group_id.clone());
        cluster.coordinator(group, broker).expect("there is such a broker");
    };
    coordinator(1);
    // Otherwise, the stopped broker may be the one that has the records, and no other one is elected in its place.
    cluster.partition_leader("things", 0, Some(3)).expect("there is such a broker");
    publish(&config, 0, &["a", "b"]).await;
    let mut engine = Engine::join(&config);
    let offers = engine.assigned(|offer| Start::At(offer.log_start)).await;
    let id = offers[0].id.clone();
    assert_eq!(engine.take(&id, 2).await.len(), 2);
    coordinator(2);
    cluster.broker_down(1).expect("there is such a broker");
    engine.consumer.store_offset(&id, 2, "store-id");
    publish(&config, 0, &["c"]).await;
    assert_eq!(engine.take(&id, 1).await, [(2, "c".to_owned())]);
    engine.leave().await;
}
