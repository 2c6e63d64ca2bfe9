use order_runtime::prelude::*;

/// The data of `OrderShipped`.
#[schema]
pub struct INPUT_ShipOrder {
    /// The order.
    pub order_id: OrderId,
    /// The carrier.
    #[garde(length(chars, min = 1, max = 128))]
    pub carrier: Option<String>,
    /// The carrier's tracking number.
    #[garde(length(chars, min = 1, max = 128))]
    pub tracking_number: Option<String>,
}

/// The order after the step.
#[schema]
pub struct OUTPUT_ShipOrder {
    /// The order.
    pub order_id: OrderId,
    /// Its status.
    pub status: String,
}
