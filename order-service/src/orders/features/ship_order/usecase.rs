use order_runtime::prelude::*;

/// Hands an order to a carrier.
#[usecase]
pub async fn USECASE_ShipOrder(
    input: INPUT_ShipOrder,
    orders: &mut dyn INTERFACE_HELPER_ShipOrder,
) -> Result<OUTPUT_ShipOrder, ShipOrderError> {
    let order_id = input.order_id;
    let Some(mut order) = orders.find(&order_id).await? else {
        return Err(ShipOrderError::NotYet(order_id));
    };
    order.ship(input.carrier, input.tracking_number)?;
    let status = order.status.to_string();
    orders.save(order);
    Ok(OUTPUT_ShipOrder { order_id, status })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::entities::order::tests::order;

    /// A store with at most one order.
    struct Orders(Option<Order>);

    #[order_runtime::async_trait]
    impl INTERFACE_HELPER_ShipOrder for Orders {
        async fn find(&self, id: &OrderId) -> Result<Option<Order>, ShipOrderError> {
            Ok(self.0.clone().filter(|order| order.order_id == *id))
        }

        fn save(&mut self, order: Order) {
            self.0 = Some(order);
        }
    }

    fn input() -> INPUT_ShipOrder {
        INPUT_ShipOrder { order_id: "order-1".parse().unwrap(), carrier: None, tracking_number: None }
    }

    #[tokio::test]
    async fn an_allowed_step_is_taken() {
        let mut orders = Orders(Some(order(Status::Paid)));
        let output = USECASE_ShipOrder(input(), &mut orders).await.unwrap();
        assert_eq!((output.status.as_str(), orders.0.unwrap().status), (Status::Shipped.as_str(), Status::Shipped));
    }

    #[tokio::test]
    async fn a_forbidden_step_leaves_the_order_unchanged() {
        let mut orders = Orders(Some(order(Status::Delivered)));
        let refused = USECASE_ShipOrder(input(), &mut orders).await.unwrap_err();
        assert_eq!(refused, ShipOrderError::Forbidden(ForbiddenStep { from: Status::Delivered, to: Status::Shipped }));
        assert_eq!(orders.0, Some(order(Status::Delivered)));
    }

    #[tokio::test]
    async fn a_missing_order_is_retried() {
        let missing = USECASE_ShipOrder(input(), &mut Orders(None)).await.unwrap_err();
        assert_eq!(missing, ShipOrderError::NotYet("order-1".parse().unwrap()));
        assert_eq!(missing.class(), order_runtime::dispatch::Class::Retry);
    }
}
