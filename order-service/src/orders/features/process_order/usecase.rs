use order_runtime::prelude::*;

/// Creates a new order.
#[usecase]
pub async fn USECASE_ProcessOrder(
    input: INPUT_ProcessOrder,
    orders: &mut dyn INTERFACE_HELPER_ProcessOrder,
) -> Result<OUTPUT_ProcessOrder, ProcessOrderError> {
    let INPUT_ProcessOrder { order_id, customer_id, currency, items, total } = input;
    if orders.exists(&order_id).await? {
        return Err(ProcessOrderError::AlreadyExists(order_id));
    }
    orders.save(Order {
        order_id: order_id.clone(),
        customer_id,
        currency,
        total,
        status: Status::Created,
        items: items.into(),
        carrier: None,
        tracking_number: None,
        cancel_reason: None,
    });
    Ok(OUTPUT_ProcessOrder { order_id, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of orders in place of the store.
    #[derive(Default)]
    struct List(Vec<Order>);

    #[order_runtime::async_trait]
    impl INTERFACE_HELPER_ProcessOrder for List {
        async fn exists(&self, id: &OrderId) -> Result<bool, ProcessOrderError> {
            Ok(self.0.iter().any(|order| order.order_id == *id))
        }

        fn save(&mut self, order: Order) {
            self.0.push(order);
        }
    }

    fn input() -> INPUT_ProcessOrder {
        let item = Item { sku: "A-1".to_owned(), quantity: 1, unit_price: Money::cents(100) };
        INPUT_ProcessOrder {
            order_id: "order-1".parse().unwrap(),
            customer_id: "customer-1".to_owned(),
            currency: "EUR".to_owned(),
            items: vec![item],
            total: Money::cents(100),
        }
    }

    #[tokio::test]
    async fn an_order_is_created_once() {
        let mut orders = List::default();
        let output = USECASE_ProcessOrder(input(), &mut orders).await.unwrap();
        assert_eq!((output.total, orders.0[0].status), (Money::cents(100), Status::Created));
        let again = USECASE_ProcessOrder(input(), &mut orders).await;
        assert_eq!(again, Err(ProcessOrderError::AlreadyExists("order-1".parse().unwrap())));
        assert_eq!(orders.0.len(), 1);
    }
}
