use order_runtime::prelude::*;

use crate::orders::entities::money::not_negative;

/// The data of `OrderPaid`.
#[schema]
pub struct INPUT_PayOrder {
    /// The order.
    pub order_id: OrderId,
    /// The paid amount; must equal the total.
    #[garde(custom(not_negative))]
    pub amount: Money,
}

/// The order after the step.
#[schema]
pub struct OUTPUT_PayOrder {
    /// The order.
    pub order_id: OrderId,
    /// Its status.
    pub status: String,
}
