use order_runtime::prelude::*;

/// The dependencies of [`USECASE_PayOrder`](super::usecase::USECASE_PayOrder).
#[interface]
pub trait INTERFACE_HELPER_PayOrder {
    /// The order; `None` if it does not exist.
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, PayOrderError>;

    /// Saves the changed order.
    fn save(&mut self, order: Order);
}
