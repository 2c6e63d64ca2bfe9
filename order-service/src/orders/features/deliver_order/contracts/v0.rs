use order_runtime::prelude::*;

/// Orders from the working set.
#[contract]
pub struct CONTRACT_HELPER_DeliverOrder_V0 {
    orders: WorkingSet<Order>,
}

#[contract]
impl INTERFACE_HELPER_DeliverOrder for CONTRACT_HELPER_DeliverOrder_V0 {
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, DeliverOrderError> {
        Ok(self.orders.get(id).await)
    }

    fn save(&mut self, order: Order) {
        self.orders.put(order);
    }
}
