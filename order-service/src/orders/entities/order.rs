//! An order and the steps of its life, as pure code.
//!
//! ```text
//! created ──> paid ──> shipped ──> delivered
//!    └─────────┴──> cancelled
//! ```

use std::{fmt, str::FromStr, sync::Arc};

use order_runtime::prelude::Entity;
use serde::Serialize;

use super::{item::Item, money::Money, order_id::OrderId};

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Who it is.
    pub order_id: OrderId,
    /// Whose it is.
    pub customer_id: String,
    /// The currency of all amounts, by its code of ISO 4217.
    pub currency: String,
    /// What is to be paid. It need not be the sum of the items: discounts and shipping are the shop's affair.
    pub total: Money,
    /// Where in its life it is.
    pub status: Status,
    /// What was ordered. It never changes, so copies of the order share it.
    pub items: Arc<[Item]>,
    /// Who carries it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// How to follow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_number: Option<String>,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
}

/// Where in its life an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was placed.
    Created,
    /// It is paid in full.
    Paid,
    /// It is on its way.
    Shipped,
    /// It has arrived.
    Delivered,
    /// It will not be sent.
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Created, Self::Paid, Self::Shipped, Self::Delivered, Self::Cancelled];

    /// Its name, as it stands in JSON and in stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Paid => "paid",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether an order may go from here to `next`.
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Created, Self::Paid | Self::Cancelled)
                | (Self::Paid, Self::Shipped | Self::Cancelled)
                | (Self::Shipped, Self::Delivered)
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such status")]
pub struct NoStatus;

impl FromStr for Status {
    type Err = NoStatus;

    fn from_str(text: &str) -> Result<Self, NoStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(NoStatus)
    }
}

/// A step that an order's status does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {from} cannot become {to}")]
pub struct ForbiddenStep {
    /// Where the order is.
    pub from: Status,
    /// Where it was to go.
    pub to: Status,
}

/// Why a payment is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefused {
    /// The order is not in a state to be paid.
    #[error(transparent)]
    Forbidden(#[from] ForbiddenStep),
    /// The amount is not the total.
    #[error("the payment of {paid} is not the total of {total}")]
    WrongAmount {
        /// What was paid.
        paid: Money,
        /// What is to be paid.
        total: Money,
    },
}

impl Order {
    /// Takes the payment of the whole total.
    pub fn pay(&mut self, amount: Money) -> Result<(), PaymentRefused> {
        let next = self.step(Status::Paid)?;
        if amount != self.total {
            return Err(PaymentRefused::WrongAmount { paid: amount, total: self.total });
        }
        self.status = next;
        Ok(())
    }

    /// Hands it to a carrier.
    pub fn ship(&mut self, carrier: Option<String>, tracking_number: Option<String>) -> Result<(), ForbiddenStep> {
        self.status = self.step(Status::Shipped)?;
        self.carrier = carrier;
        self.tracking_number = tracking_number;
        Ok(())
    }

    /// It has arrived.
    pub fn deliver(&mut self) -> Result<(), ForbiddenStep> {
        self.status = self.step(Status::Delivered)?;
        Ok(())
    }

    /// Calls it off.
    pub fn cancel(&mut self, reason: Option<String>) -> Result<(), ForbiddenStep> {
        self.status = self.step(Status::Cancelled)?;
        self.cancel_reason = reason;
        Ok(())
    }

    fn step(&self, to: Status) -> Result<Status, ForbiddenStep> {
        if self.status.may_become(to) { Ok(to) } else { Err(ForbiddenStep { from: self.status, to }) }
    }
}

impl Entity for Order {
    type Id = OrderId;

    const FILTERS: &'static [&'static str] = &["status"];

    fn id(&self) -> &OrderId {
        &self.order_id
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

    /// Tries to bring an order that is `from` to `to`; answers its status afterwards.
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
    fn the_read_model_has_the_names_of_the_interface() {
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
        assert_eq!("paid ".parse::<Status>(), Err(NoStatus));
    }
}
