use order_runtime::prelude::*;

/// What [`USECASE_CancelOrder`](super::usecase::USECASE_CancelOrder) needs of the world.
#[interface]
pub trait INTERFACE_HELPER_CancelOrder {
    /// The order, where it exists.
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, CancelOrderError>;

    /// Keeps the changed order.
    fn save(&mut self, order: Order);
}
