use order_runtime::prelude::*;

/// The dependencies of [`USECASE_ShipOrder`](super::usecase::USECASE_ShipOrder).
#[interface]
pub trait INTERFACE_HELPER_ShipOrder {
    /// The order; `None` if it does not exist.
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, ShipOrderError>;

    /// Saves the changed order.
    fn save(&mut self, order: Order);
}
