//! The scenarios on the embedded broker, which need no other software.

#[path = "browser/letters.rs"]
mod letters;
#[path = "browser/page.rs"]
mod page;
#[path = "system/process.rs"]
mod process;
mod scenarios;
#[path = "system/schema.rs"]
mod schema;

use order_tests::{Broker, Postgres};

async fn broker() -> Option<Broker> {
    Some(Broker::embedded().await)
}

scenarios::every_scenario!(broker);
scenarios::tests!(broker:
    crashes::a_deleted_store_ends_the_service,
    crashes::a_second_instance_is_refused,
    traces::one_trace_covers_a_dead_letter_and_its_replay,
);

#[tokio::test]
async fn an_earlier_store_in_postgres_is_upgraded() {
    if let Some(server) = Postgres::server() {
        scenarios::upgrade::an_earlier_store_goes_on(&Broker::embedded().await.with_postgres(server)).await;
    }
}

#[tokio::test]
async fn an_operator_deals_with_dead_letters() {
    page::an_operator_deals_with_dead_letters(&Broker::embedded().await).await;
}

#[tokio::test]
async fn hostile_dead_letters_are_shown_as_text() {
    letters::hostile_dead_letters_are_shown_as_text(&Broker::embedded().await).await;
}

#[tokio::test]
async fn long_lists_are_folded_and_continue() {
    letters::long_lists_are_folded_and_continue(&Broker::embedded().await).await;
}

#[tokio::test]
async fn an_operator_observes_and_controls_the_service() {
    page::an_operator_observes_and_controls_the_service(&Broker::embedded().await).await;
}
