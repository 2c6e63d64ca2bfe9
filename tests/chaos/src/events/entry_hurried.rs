use order_runtime::prelude::*;

use crate::ledgers::actor::Actor;

/// Applies an entry, with few retries and a short timeout.
#[event_processor("EntryHurried", retries = 1, backoff = "20ms..50ms", timeout = "500ms")]
pub async fn EventProcessor_EntryHurried(
    event: Event<INPUT_RecordEntry>,
    actor: Actor,
    record_entry: SERVICE_RecordEntry,
) -> Result<(), RecordEntryError> {
    actor.play(event.data.script, event.id(), event.attempt()).await?;
    record_entry.run(event.data).await?;
    Ok(())
}
