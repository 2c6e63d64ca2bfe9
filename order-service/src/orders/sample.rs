//! Sample orders, for `publish --sample`.

use order_runtime::{Random, SampleEvent};
use serde_json::json;

use super::entities::{item::Item, money::Money};

const CURRENCIES: [&str; 3] = ["EUR", "USD", "GBP"];
const CARRIERS: [&str; 3] = ["DHL", "UPS", "GLS"];

/// The valid life of one order. How far lives get is mixed so that an order has two and a half events on average.
pub fn order_life(index: u64, random: &mut Random<'_>) -> Vec<SampleEvent> {
    let id = format!("order-{index:06}");
    let items: Vec<Item> = (0..=random.below(3))
        .map(|_| Item {
            sku: format!("SKU-{}", 100 + random.below(900)),
            quantity: 1 + u32::try_from(random.below(4)).unwrap_or_default(),
            unit_price: Money::cents(100 + u32::try_from(random.below(19_900)).unwrap_or_default()),
        })
        .collect();
    let total: Money = items.iter().map(Item::price).sum();
    let currency = CURRENCIES[pick(random, CURRENCIES.len())];
    let customer = format!("customer-{}", random.below(10_000));
    let event = |name, data: serde_json::Value| SampleEvent { name, key: id.clone(), data: data.to_string() };
    let created = event(
        "OrderCreated",
        json!({"orderId": id, "customerId": customer, "currency": currency, "items": items, "total": total}),
    );
    let paid = event("OrderPaid", json!({"orderId": id, "amount": total}));
    let carrier = CARRIERS[pick(random, CARRIERS.len())];
    let tracking = format!("T{:09}", random.below(1_000_000_000));
    let shipped = event("OrderShipped", json!({"orderId": id, "carrier": carrier, "trackingNumber": tracking}));
    let delivered = event("OrderDelivered", json!({"orderId": id}));
    let cancelled = event("OrderCancelled", json!({"orderId": id, "reason": "changed my mind"}));
    match random.below(100) {
        0..20 => vec![created],
        20..35 => vec![created, cancelled],
        35..50 => vec![created, paid],
        50..58 => vec![created, paid, cancelled],
        58..80 => vec![created, paid, shipped],
        _ => vec![created, paid, shipped, delivered],
    }
}

fn pick(random: &mut Random<'_>, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or_default()
}
