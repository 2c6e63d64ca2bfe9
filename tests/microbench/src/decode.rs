//! Decoding: from a record's bytes to typed, validated data.

use std::{hint::black_box, sync::Arc};

use order_runtime::{
    __private::bench::BenchPartition,
    dispatch::{Event, Schema},
};
use order_service::orders::features::pay_order::schemas::INPUT_PayOrder;

use crate::{Run, engine, events, unit_of_work};

/// Decodes to the declared type of a feature.
pub(crate) fn typed(event: fn(&str, usize) -> String) -> Run {
    decode::<INPUT_PayOrder>(event)
}

/// Decodes to a JSON value.
pub(crate) fn any_shape(event: fn(&str, usize) -> String) -> Run {
    decode::<order_runtime::prelude::Value>(event)
}

fn decode<T: Schema>(event: fn(&str, usize) -> String) -> Run {
    let records = Arc::new(events::records(crate::EVENTS, |index| event("OrderPaid", index)));
    let partition =
        BenchPartition::new(engine::registry(1, engine::AT_ONCE), events::partition(), unit_of_work::entity());
    Box::new(move || {
        for index in 0..records.len() {
            let delivery = partition.deliver(&records, index).expect("each record is an event");
            let event: Event<T> = delivery.event().expect("each event is valid");
            black_box(&event.data);
        }
    })
}
