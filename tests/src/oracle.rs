//! Computes the expected outcome of each record of a topic from the documented interface alone.
//!
//! This is a second, simple implementation of the rules for events and orders, which shares no code with the service. It reads a
//! topic in the order of its partitions, as one consumer without failures would.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::topic::Record;

/// The expected result of a topic's records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The expected orders.
    pub orders: BTreeMap<String, OrderState>,
    /// The expected dead letters, by partition and offset, with their reasons.
    pub dead_letters: BTreeMap<(i32, i64), Reason>,
    /// The number of records that repeat an earlier one and must change nothing.
    pub repeats: usize,
}

impl Expected {
    /// The number of events that must have changed an order.
    pub fn applied(&self) -> u64 {
        self.orders.values().map(|order| order.version).sum()
    }
}

/// The state of an order that results from its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderState {
    /// The status, in lower case.
    pub status: String,
    /// The number of applied events.
    pub version: u64,
}

/// The value of `dlq-reason`.
pub type Reason = &'static str;

/// The expected result of these records.
pub fn expect(records: &[Record]) -> Expected {
    let mut expected = Expected::default();
    let mut seen: HashMap<(&[u8], String), &[u8]> = HashMap::new();
    for record in records {
        let key = record.key.as_deref().unwrap_or_default();
        let payload = record.payload.as_deref().unwrap_or_default();
        match expected_outcome(key, payload, &mut seen, &expected.orders) {
            ExpectedOutcome::Applied(order, status) => {
                let state = expected.orders.entry(order).or_insert(OrderState { status: String::new(), version: 0 });
                state.status = status.into();
                state.version += 1;
            }
            ExpectedOutcome::Repeat => expected.repeats += 1,
            ExpectedOutcome::DeadLetter(reason) => {
                expected.dead_letters.insert((record.partition, record.offset), reason);
            }
        }
    }
    expected
}

enum ExpectedOutcome {
    Applied(String, &'static str),
    Repeat,
    DeadLetter(Reason),
}

fn expected_outcome<'a>(
    key: &'a [u8],
    payload: &'a [u8],
    seen: &mut HashMap<(&'a [u8], String), &'a [u8]>,
    orders: &BTreeMap<String, OrderState>,
) -> ExpectedOutcome {
    let Ok(envelope) = serde_json::from_slice::<Value>(payload) else {
        return ExpectedOutcome::DeadLetter("undecodable");
    };
    let text = |names: &[&str]| names.iter().find_map(|name| envelope[*name].as_str());
    let Some(name) = text(&["eventName", "event_name", "name", "type"]) else {
        return ExpectedOutcome::DeadLetter("undecodable");
    };
    if let Some(id) = text(&["eventId", "event_id", "id"]) {
        // A repeat of a dead-lettered event is a repeat too; only a replay runs the event again.
        match seen.insert((key, id.to_owned()), payload) {
            Some(earlier) if earlier == payload => return ExpectedOutcome::Repeat,
            Some(_) => return ExpectedOutcome::DeadLetter("invalid"),
            None => {}
        }
    }
    let data = &envelope["data"];
    let valid: fn(&Value) -> bool = match name {
        "OrderCreated" => is_created,
        "OrderPaid" => |data| is_amount(&data["amount"]),
        "OrderShipped" => |data| is_optional_text(&data["carrier"]) && is_optional_text(&data["trackingNumber"]),
        "OrderDelivered" => |_| true,
        "OrderCancelled" => |data| is_optional_text(&data["reason"]),
        _ => return ExpectedOutcome::DeadLetter("unknown_event"),
    };
    let Some(order) = data["orderId"].as_str().filter(|id| !id.is_empty() && valid(data)) else {
        return ExpectedOutcome::DeadLetter("invalid");
    };
    let status = orders.get(order).map(|order| order.status.as_str());
    match (name, status) {
        ("OrderCreated", None) => ExpectedOutcome::Applied(order.into(), "created"),
        ("OrderPaid", Some("created")) => ExpectedOutcome::Applied(order.into(), "paid"),
        ("OrderShipped", Some("paid")) => ExpectedOutcome::Applied(order.into(), "shipped"),
        ("OrderDelivered", Some("shipped")) => ExpectedOutcome::Applied(order.into(), "delivered"),
        ("OrderCancelled", Some("created" | "paid")) => ExpectedOutcome::Applied(order.into(), "cancelled"),
        (_, None) => ExpectedOutcome::DeadLetter("exhausted"),
        (_, Some(_)) => ExpectedOutcome::DeadLetter("rejected"),
    }
}

fn is_created(data: &Value) -> bool {
    let texts = ["customerId", "currency"].iter().all(|name| data[*name].as_str().is_some_and(|text| !text.is_empty()));
    let items = data["items"].as_array().is_some_and(|items| !items.is_empty() && items.iter().all(is_item));
    texts && items && is_amount(&data["total"])
}

fn is_item(item: &Value) -> bool {
    item["sku"].as_str().is_some_and(|sku| !sku.is_empty())
        && item["quantity"].as_u64().is_some_and(|quantity| quantity >= 1)
        && is_amount(&item["unitPrice"])
}

/// Whether a value is an amount: a number or a decimal text, not below zero.
fn is_amount(value: &Value) -> bool {
    let number = value.as_f64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    number.is_some_and(|number| number >= 0.0)
}

fn is_optional_text(value: &Value) -> bool {
    value.is_null() || value.is_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Expected, OrderState, expect};
    use crate::{
        events::{cancelled, created, delivered, event, event_with_id, paid, shipped},
        topic::Record,
    };

    fn topic(payloads: impl IntoIterator<Item = String>) -> Vec<Record> {
        let record = |(offset, payload): (i64, String)| Record {
            partition: 0,
            offset,
            timestamp: None,
            key: Some(b"order-1".into()),
            payload: Some(payload.into_bytes()),
            headers: Vec::new(),
        };
        (0..).zip(payloads).map(record).collect()
    }

    fn of(payloads: impl IntoIterator<Item = serde_json::Value>) -> Expected {
        expect(&topic(payloads.into_iter().map(|payload| payload.to_string())))
    }

    #[test]
    fn a_whole_life_is_applied() {
        let expected = of([created("order-1"), paid("order-1"), shipped("order-1"), delivered("order-1")]);
        assert_eq!(expected.orders["order-1"], OrderState { status: "delivered".into(), version: 4 });
        assert!(expected.dead_letters.is_empty());
    }

    #[test]
    fn a_forbidden_step_changes_nothing() {
        let expected = of([created("order-1"), cancelled("order-1"), paid("order-1")]);
        assert_eq!(expected.orders["order-1"], OrderState { status: "cancelled".into(), version: 2 });
        assert_eq!(expected.dead_letters[&(0, 2)], "rejected");
    }

    #[test]
    fn each_kind_of_bad_event_has_its_reason() {
        let mut payloads: Vec<String> = [
            event("OrderInvented", json!({"orderId": "order-1"})),
            event("OrderPaid", json!({"orderId": "order-1", "amount": -1})),
            paid("order-1"),
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        payloads.push("{\"eventName\":".into());
        let reasons: Vec<_> = expect(&topic(payloads)).dead_letters.into_values().collect();
        assert_eq!(reasons, ["unknown_event", "invalid", "exhausted", "undecodable"]);
    }

    #[test]
    fn an_id_counts_once() {
        let created = created("order-1");
        let id = created["eventId"].as_str().unwrap().to_owned();
        let other = event_with_id(&id, "OrderCancelled", &json!({"orderId": "order-1"}));
        let expected = of([created.clone(), created, other]);
        assert_eq!((expected.applied(), expected.repeats), (1, 1));
        assert_eq!(expected.dead_letters[&(0, 2)], "invalid", "the same id on another event");
    }
}
