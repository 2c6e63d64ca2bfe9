//! Sample orders, for `publish --sample`.

use order_runtime::{Random, SampleEvent};
use serde_json::json;

use super::entities::{item::Item, money::Money};

const CURRENCIES: [&str; 3] = ["EUR", "USD", "GBP"];
const CARRIERS: [&str; 3] = ["DHL", "UPS", "GLS"];

/// The events of one valid order. Orders stop at random steps, with two and a half events on average.
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

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use order_runtime::dispatch::Schema;

    use super::*;
    use crate::orders::{
        entities::order::Status,
        features::{
            cancel_order::schemas::INPUT_CancelOrder, deliver_order::schemas::INPUT_DeliverOrder,
            pay_order::schemas::INPUT_PayOrder, process_order::schemas::INPUT_ProcessOrder,
            ship_order::schemas::INPUT_ShipOrder,
        },
    };

    /// The events of `count` orders, from fixed pseudo-random numbers.
    fn lives(count: u64) -> Vec<Vec<SampleEvent>> {
        let mut drawn = 0_u64;
        let mut draw = || {
            drawn += 1;
            BuildHasherDefault::<DefaultHasher>::default().hash_one(drawn)
        };
        (0..count).map(|index| order_life(index, &mut Random::new(&mut draw))).collect()
    }

    fn fits<T: Schema>(event: &SampleEvent) -> T {
        T::decode(&event.data).unwrap_or_else(|invalid| panic!("{}: {invalid:?}: {}", event.name, event.data))
    }

    #[test]
    fn lives_are_valid_from_their_first_event_to_their_last() {
        for life in lives(2_000) {
            let INPUT_ProcessOrder { order_id, items, total, .. } = fits(&life[0]);
            assert_eq!(life[0].name, "OrderCreated");
            assert_eq!(total, items.iter().map(Item::price).sum());
            let mut status = Status::Created;
            for event in &life {
                assert_eq!(event.key, order_id.to_string());
            }
            for event in &life[1..] {
                let next = match event.name {
                    "OrderPaid" => {
                        assert_eq!(fits::<INPUT_PayOrder>(event).amount, total);
                        Status::Paid
                    }
                    "OrderShipped" => {
                        fits::<INPUT_ShipOrder>(event);
                        Status::Shipped
                    }
                    "OrderDelivered" => {
                        fits::<INPUT_DeliverOrder>(event);
                        Status::Delivered
                    }
                    "OrderCancelled" => {
                        fits::<INPUT_CancelOrder>(event);
                        Status::Cancelled
                    }
                    other => panic!("not an event of an order: {other}"),
                };
                assert!(status.may_become(next), "{status:?} to {next:?} in {life:?}");
                status = next;
            }
        }
    }

    #[test]
    fn lives_have_two_and_a_half_events_on_average() {
        let events: usize = lives(10_000).iter().map(Vec::len).sum();
        assert!((24_500..=25_500).contains(&events), "{events} events of 10,000 orders");
    }
}
