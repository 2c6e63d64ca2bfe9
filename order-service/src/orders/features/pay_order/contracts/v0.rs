use order_runtime::prelude::*;

/// Orders from the working set.
#[contract]
pub struct CONTRACT_HELPER_PayOrder_V0 {
    orders: WorkingSet<Order>,
}

#[contract]
impl INTERFACE_HELPER_PayOrder for CONTRACT_HELPER_PayOrder_V0 {
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, PayOrderError> {
        Ok(self.orders.get(id).await)
    }

    fn save(&mut self, order: Order) {
        self.orders.put(order);
    }
}
