use order_runtime::prelude::*;

/// Takes a new order in.
#[event_processor("OrderCreated")]
pub async fn EventProcessor_OrderCreated(
    event: Event<INPUT_ProcessOrder>,
    process_order: SERVICE_ProcessOrder,
) -> Result<(), ProcessOrderError> {
    process_order.run(event.data).await?;
    Ok(())
}
