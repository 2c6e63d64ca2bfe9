use order_runtime::prelude::*;

/// Why `OrderPaid` was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error, Failure)]
pub enum PayOrderError {
    /// The order may still come, over another partition.
    #[error("order {0} is not there yet")]
    #[failure(retry)]
    NotYet(OrderId),
    /// Its status does not allow it.
    #[error(transparent)]
    #[failure(dead_letter)]
    Forbidden(ForbiddenStep),
    /// Somebody has to find out what was meant.
    #[error("the payment of {paid} is not the total of {total}")]
    #[failure(dead_letter)]
    WrongAmount {
        /// What was paid.
        paid: Money,
        /// What is to be paid.
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
