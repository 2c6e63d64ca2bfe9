use order_runtime::prelude::*;

/// The dependencies of [`USECASE_CancelOrder`](super::usecase::USECASE_CancelOrder).
#[interface]
pub trait INTERFACE_HELPER_CancelOrder {
    /// The order; `None` if it does not exist.
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, CancelOrderError>;

    /// Saves the changed order.
    fn save(&mut self, order: Order);
}
