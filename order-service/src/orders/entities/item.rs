//! The items of an order.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::money::{Money, not_negative};

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The article.
    #[garde(length(chars, min = 1, max = 128))]
    pub sku: String,
    /// The number of pieces.
    #[garde(range(min = 1))]
    pub quantity: u32,
    /// The price of one piece.
    #[garde(custom(not_negative))]
    pub unit_price: Money,
}

impl Item {
    /// The price of all pieces.
    pub fn price(&self) -> Money {
        self.unit_price * self.quantity
    }
}
