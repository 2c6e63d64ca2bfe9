use order_runtime::prelude::*;

/// Why `OrderPaid` was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Failure)]
pub enum PayOrderError {
    /// The order may still arrive on another partition.
    #[error("order {0} is not there yet")]
    #[failure(retry)]
    NotYet(OrderId),
    /// The order's status does not allow the step.
    #[error(transparent)]
    #[failure(dead_letter)]
    Forbidden(ForbiddenStep),
    /// The payment differs from the total. An operator must clarify it.
    #[error("the payment of {paid} is not the total of {total}")]
    #[failure(dead_letter)]
    WrongAmount {
        /// The paid amount.
        paid: Money,
        /// The order's total.
        total: Money,
    },
}

impl From<PaymentRefused> for PayOrderError {
    fn from(refused: PaymentRefused) -> Self {
        match refused {
            PaymentRefused::Forbidden(step) => Self::Forbidden(step),
            PaymentRefused::WrongAmount { paid, total } => Self::WrongAmount { paid, total },
        }
    }
}
