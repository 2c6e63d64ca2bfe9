use order_runtime::prelude::*;

use crate::{
    counts::{self, Counted},
    schemas::INPUT_CountCancelled,
};

/// Counts cancelled orders.
#[event_processor("OrderCancelled")]
pub async fn EventProcessor_OrderCancelled(event: Event<INPUT_CountCancelled>) -> Result<(), Failed> {
    counts::add(Counted::Cancelled, &event, event.data.total)
}
