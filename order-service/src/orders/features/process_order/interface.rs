use order_runtime::prelude::*;

/// The dependencies of [`USECASE_ProcessOrder`](super::usecase::USECASE_ProcessOrder).
#[interface]
pub trait INTERFACE_HELPER_ProcessOrder {
    /// Whether an order with this id exists.
    async fn exists(&self, id: &OrderId) -> Result<bool, ProcessOrderError>;

    /// Saves the new order.
    fn save(&mut self, order: Order);
}
