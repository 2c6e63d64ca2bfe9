use order_runtime::prelude::*;

use crate::{
    counts::{self, Counted},
    schemas::INPUT_CountPaid,
};

/// Counts paid orders.
#[event_processor("OrderPaid")]
pub async fn EventProcessor_OrderPaid(event: Event<INPUT_CountPaid>) -> Result<(), Failed> {
    counts::add(Counted::Paid, &event, event.data.total)
}
