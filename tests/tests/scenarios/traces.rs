//! Traces as a collector receives them.

use order_tests::{Broker, Collector, Deployment, PATIENCE, attribute, events, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

pub(crate) async fn one_trace_covers_a_dead_letter_and_its_replay(broker: &Broker) {
    let collector = Collector::start().await;
    let deployment = Deployment::new(broker).await.with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    let service = deployment.start_ready().await;
    let version = async |wanted: u64| {
        until("the order has this state", PATIENCE, async || {
            let order = service.ask("/orders/order-1").await.body;
            if order["version"] == wanted { Ok(()) } else { Err(order.to_string()) }
        })
        .await;
    };
    service.post("/events", &events::created("order-1")).await;
    version(1).await;
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let posted = service.post_with("/events", &events::shipped("order-1"), &[("traceparent", &parent)]).await;
    assert_eq!(posted.status, 202, "{}", posted.body);
    until("the dead letter", PATIENCE, async || match deployment.dead_letters().read().len() {
        1 => Ok(()),
        count => Err(format!("{count} dead letters")),
    })
    .await;
    let letter = &deployment.dead_letters().read()[0];
    assert!(letter.header("traceparent").is_some_and(|context| context.contains(TRACE)), "{letter:?}");
    service.post("/events", &events::paid("order-1")).await;
    version(2).await;
    deployment.run(["dlq", "replay", "--reason", "rejected", "--yes"]).await.expect_code(0);
    version(3).await;
    assert!(service.terminate().await.success(), "a clean exit");

    let spans = collector.spans(TRACE);
    let reported: Vec<(String, Option<String>)> = spans
        .iter()
        .map(|span| {
            let operation = span.name.split(' ').next().unwrap_or_default().to_owned();
            (operation, attribute(span, "orders.outcome"))
        })
        .collect();
    let expected = [("send", None), ("process", Some("dead_lettered")), ("send", None), ("process", Some("ok"))];
    let expected = expected.map(|(operation, outcome)| (operation.to_owned(), outcome.map(str::to_owned)));
    assert_eq!(reported, expected, "the last spans are exported when the service stops: {spans:#?}");
    let created = &spans[0].span_id;
    assert!(
        spans[1..].iter().all(|span| span.parent_span_id == *created),
        "all spans link to the event's creation: {spans:#?}"
    );
    let metrics = collector.metrics();
    for name in ["messaging.process.duration", "orders.events"] {
        assert!(metrics.iter().any(|known| known == name), "{name} in {metrics:?}");
    }
}
