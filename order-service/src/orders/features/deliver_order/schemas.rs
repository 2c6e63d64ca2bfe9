use order_runtime::prelude::*;

/// The data of `OrderDelivered`.
#[schema]
pub struct INPUT_DeliverOrder {
    /// The order.
    pub order_id: OrderId,
}

/// The order after the step.
#[schema]
pub struct OUTPUT_DeliverOrder {
    /// The order.
    pub order_id: OrderId,
    /// Its status.
    pub status: String,
}
