//! A ledger: the numbers of the entries that were applied to it.

use order_runtime::prelude::Entity;
use serde::Serialize;

/// The entries of one key in the order of application. The ledger accepts every entry, so that mistakes are visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Its id: the Kafka key of its events.
    pub ledger_id: String,
    /// The entries, in the order of application.
    pub applied: Vec<u32>,
}

impl Ledger {
    /// The entry that the tables of both stores refuse.
    pub const UNSTORABLE: u32 = u32::MAX;

    /// The entries as text, the format of both stores.
    pub fn text(&self) -> String {
        let numbers: Vec<String> = self.applied.iter().map(u32::to_string).collect();
        numbers.join(",")
    }

    /// Parses a ledger from the format of [`text`](Self::text).
    pub fn from_text(ledger_id: String, text: &str) -> Result<Self, std::num::ParseIntError> {
        let numbers = text.split(',').filter(|number| !number.is_empty());
        Ok(Self { ledger_id, applied: numbers.map(str::parse).collect::<Result<_, _>>()? })
    }
}

impl Entity for Ledger {
    type Id = String;

    fn id(&self) -> &String {
        &self.ledger_id
    }
}
