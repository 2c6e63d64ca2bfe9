//! The table of an entity, as `#[entity]` describes it. The statements of both SQL stores are built from this description.
//!
//! | module | contents |
//! |---|---|
//! | `column` | how a field becomes the cell of a column, and a cell a field |
//! | `lock` | what released versions had, and how a declaration breaks it |
//! | `migration` | the statements that create the table, and bring it from one version to the next |
//! | `statements` | the statements that read and write rows, built once for each entity |

mod column;
mod lock;
mod migration;
mod statements;
#[cfg(test)]
#[expect(
    unsafe_code,
    clippy::struct_field_names,
    reason = "registrations are placed in a section of the linker; an entity's id is named like the entity"
)]
mod tests;

pub(crate) use self::lock::Lock;
pub use self::{
    column::{
        AsDecimal, AsJson, AsText, Cell, Cells, Codec, ColumnError, ColumnKind, ColumnValue, Optional, Own, read,
    },
    statements::Statements,
};
use super::Entity;

/// The columns that the runtime keeps beside those of the entity: how many events have changed it, and when the first and the last
/// of them were handled.
pub const KEPT: [&str; 3] = ["version", "created_at", "updated_at"];

/// An entity with a table, as `#[entity]` generates it.
pub trait TableEntity: Entity {
    /// The table.
    const DESCRIPTION: Description;

    /// The statements for the table, built at the first call.
    fn statements() -> &'static Statements;

    /// The cell of a column, by its index in the description.
    ///
    /// # Errors
    /// When the field has a value that its column cannot hold.
    fn cell(&self, column: usize) -> Result<Cell<'_>, ColumnError>;

    /// The entity in a row that begins with the columns of the description, in their order.
    ///
    /// # Errors
    /// When a cell is no value of its field.
    fn from_row(row: &impl Cells) -> Result<Self, ColumnError>;
}

/// The description of a table.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// The name of the table.
    pub table: &'static str,
    /// The columns, in the order of the entity's fields.
    pub columns: &'static [Column],
    /// The index of the key's column.
    pub key: usize,
    /// The changes of columns that later versions have made, beside added ones.
    pub steps: &'static [Step],
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in the table.
    pub name: &'static str,
    /// The JSON name of its field.
    pub field: &'static str,
    /// How its values are stored.
    pub kind: ColumnKind,
    /// Whether it may be NULL.
    pub optional: bool,
    /// Whether an update leaves it out, because it never changes.
    pub fixed: bool,
    /// The version that added it; 1 for a column of the first version.
    pub since: u32,
    /// The SQL literal that the rows have which exist when it is added.
    pub default: Option<&'static str>,
    /// The version that added its index; `None` for a column by which no page is filtered.
    pub indexed: Option<u32>,
}

/// A change of a column by a version of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The version of the table that makes the change.
    pub since: u32,
    /// The change.
    pub change: ColumnChange,
}

/// What a [`Step`] changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnChange {
    /// A column gets another name.
    Renamed {
        /// The former name.
        from: &'static str,
        /// The new name.
        to: &'static str,
    },
    /// A column is dropped, with its values.
    Dropped {
        /// The name.
        column: &'static str,
    },
}

impl Description {
    /// The version of the table: the latest that a column, an index or a step names.
    pub fn version(&self) -> u32 {
        let columns = self.columns.iter().flat_map(|column| [Some(column.since), column.indexed]).flatten();
        columns.chain(self.steps.iter().map(|step| step.since)).max().unwrap_or(1)
    }

    /// The column of the key.
    pub fn key(&self) -> &Column {
        &self.columns[self.key]
    }

    /// The column by which a page is filtered, by its field's JSON name.
    pub fn filter(&self, field: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.indexed.is_some() && column.field == field)
    }
}
