//! Events in the format of a producer.

use serde_json::{Value, json};

use crate::broker::unique;

/// An envelope with a new id.
#[expect(clippy::needless_pass_by_value, reason = "a JSON literal at the place of use reads best without `&`")]
pub fn event(name: &str, data: Value) -> Value {
    event_with_id(&format!("test-{}-{name}", unique()), name, &data)
}

/// An envelope with the given id.
pub fn event_with_id(id: &str, name: &str, data: &Value) -> Value {
    json!({"eventId": id, "eventName": name, "version": 1, "occurredAt": "2026-01-31T12:00:00Z", "data": data})
}

/// `OrderCreated` with two items and a total of 25.00.
pub fn created(order: &str) -> Value {
    event(
        "OrderCreated",
        json!({
            "orderId": order, "customerId": "customer-1", "currency": "EUR", "total": 25.0,
            "items": [{"sku": "A-1", "quantity": 2, "unitPrice": 10.5}, {"sku": "B-1", "quantity": 1, "unitPrice": 4}],
        }),
    )
}

/// `OrderPaid` with the whole total of [`created`].
pub fn paid(order: &str) -> Value {
    event("OrderPaid", json!({"orderId": order, "amount": 25.0}))
}

/// `OrderShipped`.
pub fn shipped(order: &str) -> Value {
    event("OrderShipped", json!({"orderId": order, "carrier": "DHL", "trackingNumber": "TRACK-1"}))
}

/// `OrderDelivered`.
pub fn delivered(order: &str) -> Value {
    event("OrderDelivered", json!({"orderId": order}))
}

/// `OrderCancelled`.
pub fn cancelled(order: &str) -> Value {
    event("OrderCancelled", json!({"orderId": order, "reason": "changed my mind"}))
}
