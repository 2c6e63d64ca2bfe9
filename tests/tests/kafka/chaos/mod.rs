//! Faults of brokers, stores, connections and instances, each followed by an account of every event.
//!
//! This is the short form of `cargo xtask chaos`: the same rounds with fewer events.

mod guarded;
mod stops;
mod topics;

use order_tests::{
    Broker, Kafka, Postgres,
    chaos::{
        Recipe,
        rounds::{self, Kills, Shape},
    },
    skip,
};

const SHORT: Shape =
    Shape { recipe: Recipe { events: 6_000, keys: 200, seed: 2, hostile: false, killers: 0 }, rate: 3_000 };

const KILLS: Kills = Kills {
    recipe: Recipe { events: 12_000, keys: 300, seed: 1, hostile: true, killers: 1 },
    kills: 4,
    instances: 1,
    rate: 3_000,
};

async fn kafka() -> Option<Broker> {
    super::broker().await
}

async fn with_postgres() -> Option<Broker> {
    let server = Postgres::server()?;
    kafka().await.map(|broker| broker.with_postgres(server))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_on_sqlite() {
    let Some(broker) = kafka().await else { return };
    let report = rounds::kills(&broker, KILLS).await;
    report.print();
    assert!(report.in_flight > 0, "no kill hit an open transaction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_of_three_on_postgres() {
    let Some(broker) = with_postgres().await else { return };
    let report = rounds::kills(&broker, Kills { instances: 3, ..KILLS }).await;
    report.print();
    assert!(report.in_flight > 0, "no kill hit an open transaction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_dies_and_hangs() {
    let Some(kafka) = Kafka::fragile() else { return };
    rounds::broker_dies(kafka, SHORT).await.print();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_to_kafka_is_bad() {
    let Some(kafka) = Kafka::fragile() else { return };
    rounds::bad_line_to_kafka(kafka, SHORT).await.print();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_are_fetched_again() {
    let Some(kafka) = Kafka::fragile() else { return };
    rounds::flipped_bytes(kafka, SHORT).await.print();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_line_to_postgres_is_bad() {
    let (Some(broker), Some(server)) = (kafka().await, Postgres::fragile()) else { return };
    rounds::bad_line_to_postgres(&broker, server, SHORT).await.print();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_dies_and_hangs() {
    let (Some(broker), Some(server)) = (kafka().await, Postgres::fragile()) else { return };
    rounds::postgres_dies(&broker, server, SHORT).await.print();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full() {
    let Some(broker) = kafka().await else { return };
    match rounds::disk_full(&broker, SHORT).await {
        Ok(report) => report.print(),
        Err(reason) => skip("disk", &reason),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() {
    let Some(broker) = with_postgres().await else { return };
    rounds::members_come_and_go(&broker, SHORT).await.print();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_sleeps_longer_than_its_session() {
    let Some(broker) = with_postgres().await else { return };
    rounds::sleeper(&broker, SHORT).await.print();
}
