use order_runtime::prelude::*;

/// Why `OrderShipped` was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Failure)]
pub enum ShipOrderError {
    /// The order may still arrive on another partition.
    #[error("order {0} is not there yet")]
    #[failure(retry)]
    NotYet(OrderId),
    /// The order's status does not allow the step.
    #[error(transparent)]
    #[failure(dead_letter)]
    Forbidden(#[from] ForbiddenStep),
}
