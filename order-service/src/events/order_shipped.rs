use order_runtime::prelude::*;

/// Marks an order as shipped.
#[event_processor("OrderShipped")]
pub async fn EventProcessor_OrderShipped(
    event: Event<INPUT_ShipOrder>,
    ship_order: SERVICE_ShipOrder,
) -> Result<(), ShipOrderError> {
    ship_order.run(event.data).await?;
    Ok(())
}
