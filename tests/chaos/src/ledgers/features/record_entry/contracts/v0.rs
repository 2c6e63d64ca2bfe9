use order_runtime::prelude::*;

/// Ledgers from the working set.
#[contract]
pub struct CONTRACT_HELPER_RecordEntry_V0 {
    ledgers: WorkingSet<Ledger>,
}

#[contract]
impl INTERFACE_HELPER_RecordEntry for CONTRACT_HELPER_RecordEntry_V0 {
    async fn find(&self, id: &str) -> Option<Ledger> {
        self.ledgers.get(&id.to_owned()).await
    }

    fn save(&mut self, ledger: Ledger) {
        self.ledgers.put(ledger);
    }
}
