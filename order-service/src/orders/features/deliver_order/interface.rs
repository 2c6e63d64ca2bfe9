use order_runtime::prelude::*;

/// What [`USECASE_DeliverOrder`](super::usecase::USECASE_DeliverOrder) needs of the world.
#[interface]
pub trait INTERFACE_HELPER_DeliverOrder {
    /// The order, where it exists.
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, DeliverOrderError>;

    /// Keeps the changed order.
    fn save(&mut self, order: Order);
}
