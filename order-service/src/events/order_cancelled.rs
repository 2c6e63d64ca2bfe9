use order_runtime::prelude::*;

/// Cancels an order that has not left yet.
#[event_processor("OrderCancelled")]
pub async fn EventProcessor_OrderCancelled(
    event: Event<INPUT_CancelOrder>,
    cancel_order: SERVICE_CancelOrder,
) -> Result<(), CancelOrderError> {
    cancel_order.run(event.data).await?;
    Ok(())
}
