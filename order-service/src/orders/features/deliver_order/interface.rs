use order_runtime::prelude::*;

/// The dependencies of [`USECASE_DeliverOrder`](super::usecase::USECASE_DeliverOrder).
#[interface]
pub trait INTERFACE_HELPER_DeliverOrder {
    /// The order; `None` if it does not exist.
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, DeliverOrderError>;

    /// Saves the changed order.
    fn save(&mut self, order: Order);
}
