//! A ledger: the numbers of the entries that were applied to it.

use order_runtime::prelude::Entity;
use serde::Serialize;

/// The entries of one key in the order in which they were applied. Nothing is refused, so that a mistake shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Who it is: the Kafka key of its events.
    pub ledger_id: String,
    /// The entries, as they came.
    pub applied: Vec<u32>,
}

impl Ledger {
    /// The entry that the tables of both stores refuse.
    pub const UNSTORABLE: u32 = u32::MAX;

    /// The entries as text, which is how both stores keep them.
    pub fn text(&self) -> String {
        let numbers: Vec<String> = self.applied.iter().map(u32::to_string).collect();
        numbers.join(",")
    }

    /// The ledger from what [`text`](Self::text) made.
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
