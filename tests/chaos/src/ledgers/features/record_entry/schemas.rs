use order_runtime::prelude::*;

/// The data of every event of a ledger.
#[schema]
pub struct INPUT_RecordEntry {
    /// The ledger.
    #[garde(length(min = 1, max = 128))]
    pub ledger_id: String,
    /// The entry: its number among all events of the ledger.
    pub entry: u32,
    /// How the processor behaves.
    #[serde(default)]
    pub script: Script,
}

/// The ledger as it is now.
#[schema]
pub struct OUTPUT_RecordEntry {
    /// How many entries it has.
    pub entries: usize,
}
