use order_runtime::prelude::*;

/// Cancels an order that has not been shipped.
#[usecase]
pub async fn USECASE_CancelOrder(
    input: INPUT_CancelOrder,
    orders: &mut dyn INTERFACE_HELPER_CancelOrder,
) -> Result<OUTPUT_CancelOrder, CancelOrderError> {
    let order_id = input.order_id;
    let Some(mut order) = orders.find(&order_id).await? else {
        return Err(CancelOrderError::NotYet(order_id));
    };
    order.cancel(input.reason)?;
    let status = order.status.to_string();
    orders.save(order);
    Ok(OUTPUT_CancelOrder { order_id, status })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::entities::order::tests::order;

    /// A store with at most one order.
    struct Orders(Option<Order>);

    #[order_runtime::async_trait]
    impl INTERFACE_HELPER_CancelOrder for Orders {
        async fn find(&self, id: &OrderId) -> Result<Option<Order>, CancelOrderError> {
            Ok(self.0.clone().filter(|order| order.order_id == *id))
        }

        fn save(&mut self, order: Order) {
            self.0 = Some(order);
        }
    }

    fn input() -> INPUT_CancelOrder {
        INPUT_CancelOrder { order_id: "order-1".parse().unwrap(), reason: None }
    }

    #[tokio::test]
    async fn an_allowed_step_is_taken() {
        let mut orders = Orders(Some(order(Status::Created)));
        let output = USECASE_CancelOrder(input(), &mut orders).await.unwrap();
        assert_eq!((output.status.as_str(), orders.0.unwrap().status), (Status::Cancelled.as_str(), Status::Cancelled));
    }

    #[tokio::test]
    async fn a_forbidden_step_leaves_the_order_unchanged() {
        let mut orders = Orders(Some(order(Status::Delivered)));
        let refused = USECASE_CancelOrder(input(), &mut orders).await.unwrap_err();
        assert_eq!(
            refused,
            CancelOrderError::Forbidden(ForbiddenStep { from: Status::Delivered, to: Status::Cancelled })
        );
        assert_eq!(orders.0, Some(order(Status::Delivered)));
    }

    #[tokio::test]
    async fn a_missing_order_is_retried() {
        let missing = USECASE_CancelOrder(input(), &mut Orders(None)).await.unwrap_err();
        assert_eq!(missing, CancelOrderError::NotYet("order-1".parse().unwrap()));
        assert_eq!(missing.class(), order_runtime::dispatch::Class::Retry);
    }
}
