//! The identity of an order.

use order_runtime::prelude::*;

/// The identity of an order: 1 to 128 characters without control characters.
#[id(max_chars = 128)]
pub struct OrderId(String);
