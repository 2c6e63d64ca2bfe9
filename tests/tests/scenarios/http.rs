//! The HTTP interface for other programs.

use order_tests::{Broker, Deployment, PATIENCE, accounting::settled, events};
use serde_json::json;

pub(crate) async fn posted_events_are_processed(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    let created = events::created("order-1");
    let one = service.post("/events", &created).await;
    assert_eq!(one.status, 202, "{}", one.body);
    let id = created["eventId"].as_str().unwrap();
    assert!(one.body.to_string().contains(id), "the answer names the event: {}", one.body);
    let several = service.post("/events", &json!([events::paid("order-1"), events::shipped("order-1")])).await;
    assert_eq!(several.status, 202, "{}", several.body);
    let expected = settled(&deployment, &service, PATIENCE).await;
    assert_eq!(expected.orders["order-1"].version, 3);
    let order = service.get("/orders/order-1").await;
    assert_eq!(order["customerId"], "customer-1");
    let total = order["total"].as_str().unwrap_or_else(|| panic!("money is a decimal text: {order}"));
    assert_eq!(total.parse::<f64>().ok(), Some(25.0), "{order}");
    let history = service.get("/orders/order-1/events").await;
    assert!(history.to_string().contains(id), "the history of the order names its events: {history}");
}

pub(crate) async fn invalid_events_are_refused_with_every_path(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    let mut wrong = events::created("order-1");
    wrong["data"]["items"][1]["quantity"] = json!(0);
    wrong["data"]["items"][0]["unitPrice"] = json!(-1);
    let refused = service.post("/events", &wrong).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(refused.media_type, "application/problem+json");
    let body = refused.body.to_string();
    for place in ["quantity", "unitPrice"] {
        assert!(body.contains(place), "the answer names {place} too: {body}");
    }
    let unknown = service.post("/events", &events::event("OrderInvented", json!({"orderId": "order-1"}))).await;
    assert_eq!(unknown.status, 422, "{}", unknown.body);
    assert!(unknown.body.to_string().contains("OrderInvented"), "{}", unknown.body);
    assert_eq!(deployment.events().read(), [], "nothing invalid is produced");
}

pub(crate) async fn unknown_orders_are_not_found(broker: &Broker) {
    let deployment = Deployment::new(broker).await;
    let service = deployment.start_ready().await;
    let answer = service.ask("/orders/order-nobody-knows").await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert_eq!(answer.media_type, "application/problem+json");
}
