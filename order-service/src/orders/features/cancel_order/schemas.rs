use order_runtime::prelude::*;

/// The data of `OrderCancelled`.
#[schema]
pub struct INPUT_CancelOrder {
    /// The order.
    pub order_id: OrderId,
    /// The reason for the cancellation.
    #[garde(length(chars, max = 1024))]
    pub reason: Option<String>,
}

/// The order after the step.
#[schema]
pub struct OUTPUT_CancelOrder {
    /// The order.
    pub order_id: OrderId,
    /// Its status.
    pub status: String,
}
