use order_runtime::prelude::*;

/// Orders from the working set.
#[contract]
pub struct CONTRACT_HELPER_ProcessOrder_V0 {
    orders: WorkingSet<Order>,
}

#[contract]
impl INTERFACE_HELPER_ProcessOrder for CONTRACT_HELPER_ProcessOrder_V0 {
    async fn exists(&self, id: &OrderId) -> Result<bool, ProcessOrderError> {
        Ok(self.orders.get(id).await.is_some())
    }

    fn save(&mut self, order: Order) {
        self.orders.put(order);
    }
}
