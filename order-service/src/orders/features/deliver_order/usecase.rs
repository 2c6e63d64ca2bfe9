use order_runtime::prelude::*;

/// Marks an order as delivered.
#[usecase]
pub async fn USECASE_DeliverOrder(
    input: INPUT_DeliverOrder,
    orders: &mut dyn INTERFACE_HELPER_DeliverOrder,
) -> Result<OUTPUT_DeliverOrder, DeliverOrderError> {
    let order_id = input.order_id;
    let Some(mut order) = orders.find(&order_id).await? else {
        return Err(DeliverOrderError::NotYet(order_id));
    };
    order.deliver()?;
    let status = order.status.to_string();
    orders.save(order);
    Ok(OUTPUT_DeliverOrder { order_id, status })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::entities::order::tests::order;

    /// A store with at most one order.
    struct Orders(Option<Order>);

    #[order_runtime::async_trait]
    impl INTERFACE_HELPER_DeliverOrder for Orders {
        async fn find(&self, id: &OrderId) -> Result<Option<Order>, DeliverOrderError> {
            Ok(self.0.clone().filter(|order| order.order_id == *id))
        }

        fn save(&mut self, order: Order) {
            self.0 = Some(order);
        }
    }

    fn input() -> INPUT_DeliverOrder {
        INPUT_DeliverOrder { order_id: "order-1".parse().unwrap() }
    }

    #[tokio::test]
    async fn an_allowed_step_is_taken() {
        let mut orders = Orders(Some(order(Status::Shipped)));
        let output = USECASE_DeliverOrder(input(), &mut orders).await.unwrap();
        assert_eq!((output.status.as_str(), orders.0.unwrap().status), (Status::Delivered.as_str(), Status::Delivered));
    }

    #[tokio::test]
    async fn a_forbidden_step_leaves_the_order_unchanged() {
        let mut orders = Orders(Some(order(Status::Delivered)));
        let refused = USECASE_DeliverOrder(input(), &mut orders).await.unwrap_err();
        assert_eq!(
            refused,
            DeliverOrderError::Forbidden(ForbiddenStep { from: Status::Delivered, to: Status::Delivered })
        );
        assert_eq!(orders.0, Some(order(Status::Delivered)));
    }

    #[tokio::test]
    async fn a_missing_order_is_retried() {
        let missing = USECASE_DeliverOrder(input(), &mut Orders(None)).await.unwrap_err();
        assert_eq!(missing, DeliverOrderError::NotYet("order-1".parse().unwrap()));
        assert_eq!(missing.class(), order_runtime::dispatch::Class::Retry);
    }
}
