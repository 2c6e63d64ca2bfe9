//! The events of all cases: payments of about 190 bytes each, the same in every run.

use order_runtime::model::{PartitionId, RecordBatch};
use uuid::Uuid;

use crate::EVENTS;

/// The data of an `OrderPaid`.
fn data(order: &str) -> String {
    format!(r#"{{"orderId":"{order}","amount":"129.90"}}"#)
}

/// The defect of a bad event.
#[derive(Clone, Copy)]
pub(crate) enum Bad {
    /// Its name has no processor.
    Name,
    /// It is truncated inside its data.
    Json,
    /// Its data has no order.
    Member,
    /// Its amount is negative.
    Amount,
}

/// An event that becomes a dead letter.
pub(crate) fn bad(bad: Bad, name: &str, index: usize) -> String {
    let good = plain(name, index);
    match bad {
        Bad::Name => good.replace(name, "OrderForgotten"),
        Bad::Json => good[..good.len() - 20].to_owned(),
        Bad::Member => good.replace("orderId", "order"),
        Bad::Amount => good.replace("129.90", "-129.90"),
    }
}

/// The id of an order.
pub(crate) fn order(index: usize) -> String {
    format!("ord-{index:08}")
}

/// An event in the usual member order.
pub(crate) fn plain(name: &str, index: usize) -> String {
    let (id, data) = (Uuid::from_u128(index as u128), data(&order(index)));
    format!(
        r#"{{"eventId":"{id}","eventName":"{name}","version":1,"occurredAt":"2026-01-01T00:00:00.000Z","data":{data}}}"#
    )
}

/// An event with a member that the service does not know, which only the general JSON decoder accepts.
pub(crate) fn unusual(name: &str, index: usize) -> String {
    let (id, data) = (Uuid::from_u128(index as u128), data(&order(index)));
    format!(
        r#"{{"data":{data},"time":"2026-01-01T00:00:00.000Z","version":1,"type":"{name}","source":"shop","id":"{id}"}}"#
    )
}

/// The records of a run, with the payload of each and `keys` different keys.
pub(crate) fn records(keys: usize, payload: impl Fn(usize) -> String) -> RecordBatch {
    let mut records = RecordBatch::default();
    for (index, offset) in (0..EVENTS).zip(0..) {
        let key = order(index % keys);
        records.push(offset, Some(1_767_225_600_000), Some(key.as_bytes()), Some(payload(index).as_bytes()), []);
    }
    records
}

/// The one partition.
pub(crate) fn partition() -> PartitionId {
    PartitionId { cluster: "bench".into(), topic_id: Uuid::from_u128(1), topic: "events".into(), partition: 0 }
}
