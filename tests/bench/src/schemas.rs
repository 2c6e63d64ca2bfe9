//! Four types with the same fields, one for each event.

use order_runtime::prelude::*;

/// One item of an order.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, serde::Serialize, garde::Validate, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The article.
    #[garde(skip)]
    pub sku: String,
    /// The number of pieces.
    #[garde(range(min = 1))]
    pub quantity: i64,
    /// The price of one piece.
    #[garde(range(min = 0.0))]
    pub unit_price: f64,
}

/// The data of `OrderCreated`.
#[schema]
pub struct INPUT_CountCreated {
    /// The order.
    #[garde(length(min = 1))]
    pub order_id: String,
    /// The customer.
    pub customer_id: String,
    /// The currency.
    pub currency: String,
    /// The items.
    #[garde(dive)]
    pub items: Vec<Item>,
    /// The amount to be paid.
    pub total: f64,
}

/// The data of `OrderPaid`.
#[schema]
pub struct INPUT_CountPaid {
    /// The order.
    #[garde(length(min = 1))]
    pub order_id: String,
    /// The customer.
    pub customer_id: String,
    /// The currency.
    pub currency: String,
    /// The items.
    #[garde(dive)]
    pub items: Vec<Item>,
    /// The amount to be paid.
    pub total: f64,
}

/// The data of `OrderShipped`.
#[schema]
pub struct INPUT_CountShipped {
    /// The order.
    #[garde(length(min = 1))]
    pub order_id: String,
    /// The customer.
    pub customer_id: String,
    /// The currency.
    pub currency: String,
    /// The items.
    #[garde(dive)]
    pub items: Vec<Item>,
    /// The amount to be paid.
    pub total: f64,
}

/// The data of `OrderCancelled`.
#[schema]
pub struct INPUT_CountCancelled {
    /// The order.
    #[garde(length(min = 1))]
    pub order_id: String,
    /// The customer.
    pub customer_id: String,
    /// The currency.
    pub currency: String,
    /// The items.
    #[garde(dive)]
    pub items: Vec<Item>,
    /// The amount to be paid.
    pub total: f64,
}
