use order_runtime::prelude::*;

/// What [`USECASE_PayOrder`](super::usecase::USECASE_PayOrder) needs of the world.
#[interface]
pub trait INTERFACE_HELPER_PayOrder {
    /// The order, where it exists.
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, PayOrderError>;

    /// Keeps the changed order.
    fn save(&mut self, order: Order);
}
