use order_runtime::prelude::*;

/// Marks an order as paid.
#[event_processor("OrderPaid")]
pub async fn EventProcessor_OrderPaid(
    event: Event<INPUT_PayOrder>,
    pay_order: SERVICE_PayOrder,
) -> Result<(), PayOrderError> {
    pay_order.run(event.data).await?;
    Ok(())
}
