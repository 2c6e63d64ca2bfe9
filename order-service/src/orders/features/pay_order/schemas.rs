use order_runtime::prelude::*;

use crate::orders::entities::money::not_negative;

/// The data of `OrderPaid`.
#[schema]
pub struct INPUT_PayOrder {
    /// The order.
    pub order_id: OrderId,
    /// What was paid: the whole total.
    #[garde(custom(not_negative))]
    pub amount: Money,
}

/// The order as it is now.
#[schema]
pub struct OUTPUT_PayOrder {
    /// The order.
    pub order_id: OrderId,
    /// Its status.
    pub status: String,
}
