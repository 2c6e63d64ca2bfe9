use order_runtime::prelude::*;

use crate::ledgers::actor::Actor;

/// Applies an entry, with many retries.
#[event_processor("EntryRecorded", retries = 12, backoff = "20ms..500ms")]
pub async fn EventProcessor_EntryRecorded(
    event: Event<INPUT_RecordEntry>,
    actor: Actor,
    record_entry: SERVICE_RecordEntry,
) -> Result<(), RecordEntryError> {
    actor.play(event.data.script, event.id(), event.attempt()).await?;
    record_entry.run(event.data).await?;
    Ok(())
}
