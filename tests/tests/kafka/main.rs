//! The scenarios on a real Apache Kafka, and tests that need a real one.
//!
//! Without java (17+) and mvn they are skipped with a message; with `ORDER_TESTS_REQUIRE=kafka` they fail.

mod chaos;
mod instances;
mod odd_records;
mod orphans;
mod ranges;
mod redrive;
mod resources;
#[path = "../scenarios/mod.rs"]
mod scenarios;
mod surroundings;

use std::time::Duration;

use order_tests::{Broker, Deployment, accounting::settled, assert_records_are_read_as_written};

async fn broker() -> Option<Broker> {
    // The start blocks this thread for some seconds; no other task needs it.
    std::future::ready(Broker::kafka()).await
}

scenarios::every_scenario!(broker);
scenarios::tests!(broker:
    crashes::a_deleted_store_ends_the_service,
    crashes::a_second_instance_is_refused,
    traces::one_trace_covers_a_dead_letter_and_its_replay,
);

/// The scenarios with PostgreSQL as the store.
mod on_postgres {
    use order_tests::{Broker, Postgres};

    use super::scenarios;

    async fn broker() -> Option<Broker> {
        let server = Postgres::server()?;
        super::broker().await.map(|broker| broker.with_postgres(server))
    }

    scenarios::every_scenario!(broker);

    #[tokio::test]
    async fn several_share_the_work() {
        if let Some(broker) = broker().await {
            super::instances::several_share_the_work(&broker).await;
        }
    }

    #[tokio::test]
    async fn killed_ones_are_replaced() {
        if let Some(broker) = broker().await {
            super::instances::killed_ones_are_replaced(&broker).await;
        }
    }

    #[tokio::test]
    async fn a_topic_that_is_not_configured_costs_no_event() {
        if let Some(broker) = broker().await {
            super::orphans::a_topic_that_is_not_configured_costs_no_event(&broker).await;
        }
    }
}

#[tokio::test]
async fn waiting_events_of_a_deleted_topic_become_dead_letters() {
    if let Some(broker) = broker().await {
        orphans::waiting_events_of_a_deleted_topic_become_dead_letters(&broker).await;
    }
}

#[tokio::test]
async fn the_harness_reads_what_it_writes() {
    let Some(broker) = broker().await else { return };
    assert_records_are_read_as_written(&Deployment::new(&broker).await.events()).await;
}

/// About 100,000 events, more than the embedded broker can keep.
#[tokio::test]
async fn a_backlog_of_100_000_events_is_accounted_for() {
    const ORDERS: u32 = 40_000;
    let Some(broker) = broker().await else { return };
    let deployment = Deployment::with_partitions(&broker, 8).await.with("APP_RETRY_MAX_ELAPSED", "2s");
    deployment.publish_sample(ORDERS, &["--seed", "7", "--bad-rate", "0.01"]).await;
    let service = deployment.start_ready().await;
    let expected = settled(&deployment, &service, Duration::from_mins(3)).await;
    assert_eq!(expected.orders.len(), 40_000);
    assert!(expected.dead_letters.len() > 500, "1 % of the events are bad: {}", expected.dead_letters.len());
    assert_eq!(service.stat("lag").await, 0);
    assert!(service.terminate().await.success(), "a clean exit");
    assert_eq!(deployment.events().lag(deployment.group()), 0);
}
