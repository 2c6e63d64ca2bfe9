use order_runtime::prelude::*;

/// Appends an entry to its ledger, without checks.
#[usecase]
pub async fn USECASE_RecordEntry(
    input: INPUT_RecordEntry,
    ledgers: &mut dyn INTERFACE_HELPER_RecordEntry,
) -> Result<OUTPUT_RecordEntry, RecordEntryError> {
    let found = ledgers.find(&input.ledger_id).await;
    let mut ledger = found.unwrap_or(Ledger { ledger_id: input.ledger_id, applied: Entries::default() });
    ledger.applied.0.push(if input.script == Script::Unstorable { Entries::UNSTORABLE } else { input.entry });
    let entries = ledger.applied.0.len();
    ledgers.save(ledger);
    Ok(OUTPUT_RecordEntry { entries })
}
