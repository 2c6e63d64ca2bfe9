//! An order and its state machine, as pure code.
//!
//! ```text
//! created ──> paid ──> shipped ──> delivered
//!    └─────────┴──> cancelled
//! ```

use std::sync::Arc;

use order_runtime::prelude::*;

use super::{item::Item, money::Money, order_id::OrderId};

/// An order.
#[entity(table = "orders")]
#[derive(Eq)]
pub struct Order {
    /// The order's identity.
    #[key]
    pub order_id: OrderId,
    /// The customer.
    #[column(fixed)]
    pub customer_id: String,
    /// The currency of all amounts as an ISO 4217 code.
    #[column(fixed)]
    pub currency: String,
    /// The amount to be paid. It may differ from the sum of the items, because of discounts and shipping.
    #[column(decimal, fixed)]
    pub total: Money,
    /// The order's status.
    #[column(filter(since = 2))]
    pub status: Status,
    /// The ordered items. They never change, so copies of the order share them.
    #[column(json, fixed)]
    pub items: Arc<[Item]>,
    /// The carrier.
    pub carrier: Option<String>,
    /// The carrier's tracking number.
    pub tracking_number: Option<String>,
    /// The reason for the cancellation.
    pub cancel_reason: Option<String>,
}

/// The status of an order.
#[values]
pub enum Status {
    /// The order was placed.
    Created,
    /// The order is paid in full.
    Paid,
    /// The order was handed to a carrier.
    Shipped,
    /// The order has arrived.
    Delivered,
    /// The order was cancelled and will not be shipped.
    Cancelled,
}

impl Status {
    /// Whether an order in this status may change to `next`.
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Created, Self::Paid | Self::Cancelled)
                | (Self::Paid, Self::Shipped | Self::Cancelled)
                | (Self::Shipped, Self::Delivered)
        )
    }
}

/// The error for a step that an order's status does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {from} cannot become {to}")]
pub struct ForbiddenStep {
    /// The order's status.
    pub from: Status,
    /// The requested status.
    pub to: Status,
}

/// Why a payment is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefused {
    /// The order's status does not allow a payment.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenStep),
    /// The amount is not the total.
    #[error("the payment of {paid} is not the total of {total}")]
    WrongAmount {
        /// The paid amount.
        paid: Money,
        /// The order's total.
        total: Money,
    },
}

impl Order {
    /// Marks the order as paid. `amount` must be the whole total.
    pub fn pay(&mut self, amount: Money) -> Result<(), PaymentRefused> {
        let next = self.step(Status::Paid)?;
        if amount != self.total {
            return Err(PaymentRefused::WrongAmount { paid: amount, total: self.total });
        }
        self.status = next;
        Ok(())
    }

    /// Marks the order as shipped.
    pub fn ship(&mut self, carrier: Option<String>, tracking_number: Option<String>) -> Result<(), ForbiddenStep> {
        self.status = self.step(Status::Shipped)?;
        self.carrier = carrier;
        self.tracking_number = tracking_number;
        Ok(())
    }

    /// Marks the order as delivered.
    pub fn deliver(&mut self) -> Result<(), ForbiddenStep> {
        self.status = self.step(Status::Delivered)?;
        Ok(())
    }

    /// Cancels the order.
    pub fn cancel(&mut self, reason: Option<String>) -> Result<(), ForbiddenStep> {
        self.status = self.step(Status::Cancelled)?;
        self.cancel_reason = reason;
        Ok(())
    }

    fn step(&self, to: Status) -> Result<Status, ForbiddenStep> {
        if self.status.may_become(to) { Ok(to) } else { Err(ForbiddenStep { from: self.status, to }) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn order(status: Status) -> Order {
        Order {
            order_id: "order-1".parse().unwrap(),
            customer_id: "customer-1".to_owned(),
            currency: "EUR".to_owned(),
            total: Money::cents(2500),
            status,
            items: vec![Item { sku: "A-1".to_owned(), quantity: 2, unit_price: Money::cents(1250) }].into(),
            carrier: None,
            tracking_number: None,
            cancel_reason: None,
        }
    }

    /// Tries the step from `from` to `to`; returns whether it succeeded, and the status afterwards.
    fn try_step(from: Status, to: Status) -> (bool, Status) {
        let mut order = order(from);
        let total = order.total;
        let done = match to {
            Status::Created => return (false, from),
            Status::Paid => order.pay(total).is_ok(),
            Status::Shipped => order.ship(None, None).is_ok(),
            Status::Delivered => order.deliver().is_ok(),
            Status::Cancelled => order.cancel(None).is_ok(),
        };
        (done, order.status)
    }

    #[test]
    fn every_step_is_allowed_or_changes_nothing() {
        use Status::{Cancelled, Created, Delivered, Paid, Shipped};
        let allowed = [(Created, Paid), (Created, Cancelled), (Paid, Shipped), (Paid, Cancelled), (Shipped, Delivered)];
        for from in Status::ALL {
            for to in Status::ALL {
                let expected = if allowed.contains(&(from, to)) { (true, to) } else { (false, from) };
                assert_eq!(try_step(from, to), expected, "{from} to {to}");
            }
        }
    }

    #[test]
    fn only_the_total_pays_an_order() {
        let mut order = order(Status::Created);
        let refused = order.pay(Money::cents(2499)).unwrap_err();
        assert_eq!(refused.to_string(), "the payment of 24.99 is not the total of 25.00");
        assert_eq!(order.status, Status::Created);
        // 25 and 25.00 are the same amount.
        assert_eq!(order.pay("25".parse().unwrap()), Ok(()));
    }

    #[test]
    fn the_read_model_has_camel_case_names_and_amounts_as_strings() {
        let mut order = order(Status::Paid);
        order.ship(Some("DHL".to_owned()), None).unwrap();
        let view = serde_json::to_value(&order).unwrap();
        assert_eq!(view["orderId"], "order-1");
        assert_eq!(view["status"], "shipped");
        assert_eq!(view["total"], "25.00");
        assert_eq!(view["items"][0]["unitPrice"], "12.50");
        assert_eq!(view["carrier"], "DHL");
        assert!(view.get("trackingNumber").is_none());
    }

    #[test]
    fn a_status_is_read_as_it_is_written() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        let unknown = "paid ".parse::<Status>().unwrap_err().to_string();
        assert!(unknown.ends_with("known values are created, paid, shipped, delivered, cancelled"), "{unknown}");
    }
}
