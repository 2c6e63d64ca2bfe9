use order_runtime::prelude::*;

use crate::{
    counts::{self, Counted},
    schemas::INPUT_CountCreated,
};

/// Counts created orders.
#[event_processor("OrderCreated")]
pub async fn EventProcessor_OrderCreated(event: Event<INPUT_CountCreated>) -> Result<(), Failed> {
    counts::add(Counted::Created, &event, event.data.total)
}
