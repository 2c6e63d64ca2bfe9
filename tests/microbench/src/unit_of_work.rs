//! The unit of work: from loaded rows to the changes of a commit.

use std::{hint::black_box, sync::Arc};

use jiff::Timestamp;
use order_runtime::{
    __private::bench::BenchPartition,
    dispatch::{Delivery, Injectable as _, WorkingSet},
    store::{EntityType, Row},
};
use order_service::orders::entities::{
    item::Item,
    money::Money,
    order::{Order, Status},
};

use crate::{EVENTS, Run, engine, events, feed::now_or_never};

/// The type of the rows.
pub(crate) fn entity() -> EntityType {
    EntityType::of::<Order>()
}

/// Reads an order; each event has its own.
pub(crate) fn get(orders: &WorkingSet<Order>, order: &Order) {
    let found = now_or_never(orders.get(&order.order_id)).expect("every order is loaded");
    black_box(found);
}

/// Reads and changes an order; each event has its own.
pub(crate) fn get_and_put(orders: &WorkingSet<Order>, order: &Order) {
    let mut found = now_or_never(orders.get(&order.order_id)).expect("every order is loaded");
    found.status = Status::Paid;
    orders.put(found);
}

/// Loads the rows of a batch, runs `work` for each event and merges its changes, and collects them.
pub(crate) fn handle(work: fn(&WorkingSet<Order>, &Order)) -> Run {
    let records = Arc::new(events::records(EVENTS, |index| events::plain("OrderPaid", index)));
    let partition = BenchPartition::new(engine::registry(1, engine::AT_ONCE), events::partition(), entity());
    let now = Timestamp::UNIX_EPOCH;
    let rows: Vec<Row<Order>> =
        (0..EVENTS).map(|index| Row { value: order(index), version: 1, created_at: now, updated_at: now }).collect();
    let deliver = move |partition: &BenchPartition, index| -> Delivery {
        partition.deliver(&records, index).expect("each record is an event")
    };
    Box::new(move || {
        partition.load(rows.clone());
        for (index, row) in rows.iter().enumerate() {
            let delivery = deliver(&partition, index);
            work(&WorkingSet::inject(&delivery), &row.value);
            assert!(partition.merge(&delivery, now), "no other event changes the row");
        }
        partition.take_changes();
    })
}

pub(crate) fn order(index: usize) -> Order {
    Order {
        order_id: events::order(index).parse().expect("an id"),
        customer_id: "cus-0000001".to_owned(),
        currency: "EUR".to_owned(),
        total: Money::cents(12_990),
        status: Status::Created,
        items: vec![Item { sku: "SKU-00001".to_owned(), quantity: 1, unit_price: Money::cents(12_990) }].into(),
        carrier: None,
        tracking_number: None,
        cancel_reason: None,
    }
}
