use order_runtime::prelude::*;

use crate::{
    counts::{self, Counted},
    schemas::INPUT_CountShipped,
};

/// Counts shipped orders.
#[event_processor("OrderShipped")]
pub async fn EventProcessor_OrderShipped(event: Event<INPUT_CountShipped>) -> Result<(), Failed> {
    counts::add(Counted::Shipped, &event, event.data.total)
}
