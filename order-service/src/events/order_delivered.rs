use order_runtime::prelude::*;

/// Marks an order as delivered.
#[event_processor("OrderDelivered")]
pub async fn EventProcessor_OrderDelivered(
    event: Event<INPUT_DeliverOrder>,
    deliver_order: SERVICE_DeliverOrder,
) -> Result<(), DeliverOrderError> {
    deliver_order.run(event.data).await?;
    Ok(())
}
