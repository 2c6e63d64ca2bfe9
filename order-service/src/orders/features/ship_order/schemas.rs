use order_runtime::prelude::*;

/// The data of `OrderShipped`.
#[schema]
pub struct INPUT_ShipOrder {
    /// The order.
    pub order_id: OrderId,
    /// Who carries it.
    #[garde(length(chars, min = 1, max = 128))]
    pub carrier: Option<String>,
    /// How to follow it.
    #[garde(length(chars, min = 1, max = 128))]
    pub tracking_number: Option<String>,
}

/// The order as it is now.
#[schema]
pub struct OUTPUT_ShipOrder {
    /// The order.
    pub order_id: OrderId,
    /// Its status.
    pub status: String,
}
