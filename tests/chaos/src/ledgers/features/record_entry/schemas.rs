use order_runtime::prelude::*;

/// The data of every event of a ledger.
#[schema]
pub struct INPUT_RecordEntry {
    /// The ledger.
    #[garde(length(min = 1, max = 128))]
    pub ledger_id: String,
    /// The entry: its number among all events of the ledger.
    pub entry: u32,
    /// The behaviour of the processor.
    #[serde(default)]
    pub script: Script,
}

/// The ledger after the entry.
#[schema]
pub struct OUTPUT_RecordEntry {
    /// The number of its entries.
    pub entries: usize,
}
