use order_runtime::prelude::*;

/// What [`USECASE_ProcessOrder`](super::usecase::USECASE_ProcessOrder) needs of the world.
#[interface]
pub trait INTERFACE_HELPER_ProcessOrder {
    /// Whether there is an order of that id.
    async fn exists(&self, id: &OrderId) -> Result<bool, ProcessOrderError>;

    /// Keeps the new order.
    fn save(&mut self, order: Order);
}
