use order_runtime::prelude::*;

/// Why `OrderCreated` was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Failure)]
pub enum ProcessOrderError {
    /// Another event has created the order.
    #[error("order {0} exists already")]
    #[failure(dead_letter)]
    AlreadyExists(OrderId),
}
