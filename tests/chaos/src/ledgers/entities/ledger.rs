//! A ledger: the numbers of the entries that were applied to it.

use std::{fmt, num::ParseIntError, str::FromStr};

use order_runtime::{
    prelude::*,
    store::table::{Cell, ColumnError, ColumnKind, ColumnValue},
};
use serde::Serialize;

/// The entries of one key in the order of application. The ledger accepts every entry, so that mistakes are visible.
#[entity(table = "ledgers")]
#[derive(Eq)]
pub struct Ledger {
    /// Its id: the Kafka key of its events.
    #[key]
    pub ledger_id: String,
    /// The entries, in the order of application.
    pub applied: Entries,
}

/// Numbers of entries. Both stores keep them as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Entries(pub Vec<u32>);

impl Entries {
    /// The entry that no store takes.
    pub const UNSTORABLE: u32 = u32::MAX;
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

impl FromStr for Entries {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.split(',').filter(|number| !number.is_empty()).map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl ColumnValue for Entries {
    const KIND: ColumnKind = ColumnKind::Text;

    fn cell(&self) -> Result<Cell<'_>, ColumnError> {
        if self.0.contains(&Self::UNSTORABLE) {
            return Err(ColumnError::new(format!("{} is the entry that no store takes", Self::UNSTORABLE)));
        }
        Ok(Cell::Text(self.to_string().into()))
    }

    fn from_cell(cell: Cell<'_>) -> Result<Self, ColumnError> {
        String::from_cell(cell)?.parse().map_err(ColumnError::new)
    }
}
