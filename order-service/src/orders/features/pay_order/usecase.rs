use order_runtime::prelude::*;

/// Marks an order as paid if the payment is the whole total.
#[usecase]
pub async fn USECASE_PayOrder(
    input: INPUT_PayOrder,
    orders: &mut dyn INTERFACE_HELPER_PayOrder,
) -> Result<OUTPUT_PayOrder, PayOrderError> {
    let order_id = input.order_id;
    let Some(mut order) = orders.find(&order_id).await? else {
        return Err(PayOrderError::NotYet(order_id));
    };
    order.pay(input.amount)?;
    let status = order.status.to_string();
    orders.save(order);
    Ok(OUTPUT_PayOrder { order_id, status })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::entities::order::tests::order;

    /// A store with at most one order.
    struct Orders(Option<Order>);

    #[order_runtime::async_trait]
    impl INTERFACE_HELPER_PayOrder for Orders {
        async fn find(&self, id: &OrderId) -> Result<Option<Order>, PayOrderError> {
            Ok(self.0.clone().filter(|order| order.order_id == *id))
        }

        fn save(&mut self, order: Order) {
            self.0 = Some(order);
        }
    }

    fn input() -> INPUT_PayOrder {
        INPUT_PayOrder { order_id: "order-1".parse().unwrap(), amount: Money::cents(2500) }
    }

    #[tokio::test]
    async fn an_allowed_step_is_taken() {
        let mut orders = Orders(Some(order(Status::Created)));
        let output = USECASE_PayOrder(input(), &mut orders).await.unwrap();
        assert_eq!((output.status.as_str(), orders.0.unwrap().status), (Status::Paid.as_str(), Status::Paid));
    }

    #[tokio::test]
    async fn a_forbidden_step_leaves_the_order_unchanged() {
        let mut orders = Orders(Some(order(Status::Delivered)));
        let refused = USECASE_PayOrder(input(), &mut orders).await.unwrap_err();
        assert_eq!(refused, PayOrderError::Forbidden(ForbiddenStep { from: Status::Delivered, to: Status::Paid }));
        assert_eq!(orders.0, Some(order(Status::Delivered)));
    }

    #[tokio::test]
    async fn a_missing_order_is_retried() {
        let missing = USECASE_PayOrder(input(), &mut Orders(None)).await.unwrap_err();
        assert_eq!(missing, PayOrderError::NotYet("order-1".parse().unwrap()));
        assert_eq!(missing.class(), order_runtime::dispatch::Class::Retry);
    }
}
