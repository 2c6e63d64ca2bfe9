use order_runtime::prelude::*;

/// What [`USECASE_RecordEntry`](super::usecase::USECASE_RecordEntry) needs of the world.
#[interface]
pub trait INTERFACE_HELPER_RecordEntry {
    /// The ledger, where it exists.
    async fn find(&self, id: &str) -> Option<Ledger>;

    /// Keeps the changed ledger.
    fn save(&mut self, ledger: Ledger);
}
