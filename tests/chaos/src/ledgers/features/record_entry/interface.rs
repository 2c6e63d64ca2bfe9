use order_runtime::prelude::*;

/// The dependencies of [`USECASE_RecordEntry`](super::usecase::USECASE_RecordEntry).
#[interface]
pub trait INTERFACE_HELPER_RecordEntry {
    /// The ledger; `None` if it does not exist.
    async fn find(&self, id: &str) -> Option<Ledger>;

    /// Saves the changed ledger.
    fn save(&mut self, ledger: Ledger);
}
