use order_runtime::prelude::*;

/// What [`USECASE_ShipOrder`](super::usecase::USECASE_ShipOrder) needs of the world.
#[interface]
pub trait INTERFACE_HELPER_ShipOrder {
    /// The order, where it exists.
    async fn find(&self, id: &OrderId) -> Result<Option<Order>, ShipOrderError>;

    /// Keeps the changed order.
    fn save(&mut self, order: Order);
}
