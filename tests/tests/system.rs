//! The scenarios on the embedded broker: they need nothing but this repository.

#[path = "browser/page.rs"]
mod page;
mod scenarios;

use order_tests::Broker;

async fn broker() -> Option<Broker> {
    Some(Broker::embedded().await)
}

scenarios::every_scenario!(broker);
scenarios::tests!(broker:
    crashes::a_second_instance_is_refused,
    traces::one_trace_covers_a_dead_letter_and_its_replay,
);

#[tokio::test]
async fn an_operator_deals_with_dead_letters() {
    page::an_operator_deals_with_dead_letters(&Broker::embedded().await).await;
}

#[tokio::test]
async fn an_operator_sees_what_happens_and_steers() {
    page::an_operator_sees_what_happens_and_steers(&Broker::embedded().await).await;
}
