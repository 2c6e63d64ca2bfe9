//! Four types of one shape: a fifth event may have another.

use order_runtime::prelude::*;

/// One position.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, serde::Serialize, garde::Validate, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What.
    #[garde(skip)]
    pub sku: String,
    /// How many.
    #[garde(range(min = 1))]
    pub quantity: i64,
    /// For how much each.
    #[garde(range(min = 0.0))]
    pub unit_price: f64,
}

/// The data of `OrderCreated`.
#[schema]
pub struct INPUT_CountCreated {
    /// Of which.
    #[garde(length(min = 1))]
    pub order_id: String,
    /// Whose.
    pub customer_id: String,
    /// In which money.
    pub currency: String,
    /// Its positions.
    #[garde(dive)]
    pub items: Vec<Item>,
    /// For how much.
    pub total: f64,
}

/// The data of `OrderPaid`.
#[schema]
pub struct INPUT_CountPaid {
    /// Of which.
    #[garde(length(min = 1))]
    pub order_id: String,
    /// Whose.
    pub customer_id: String,
    /// In which money.
    pub currency: String,
    /// Its positions.
    #[garde(dive)]
    pub items: Vec<Item>,
    /// For how much.
    pub total: f64,
}

/// The data of `OrderShipped`.
#[schema]
pub struct INPUT_CountShipped {
    /// Of which.
    #[garde(length(min = 1))]
    pub order_id: String,
    /// Whose.
    pub customer_id: String,
    /// In which money.
    pub currency: String,
    /// Its positions.
    #[garde(dive)]
    pub items: Vec<Item>,
    /// For how much.
    pub total: f64,
}

/// The data of `OrderCancelled`.
#[schema]
pub struct INPUT_CountCancelled {
    /// Of which.
    #[garde(length(min = 1))]
    pub order_id: String,
    /// Whose.
    pub customer_id: String,
    /// In which money.
    pub currency: String,
    /// Its positions.
    #[garde(dive)]
    pub items: Vec<Item>,
    /// For how much.
    pub total: f64,
}
