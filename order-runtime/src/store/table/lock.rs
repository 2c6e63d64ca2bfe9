//! The lock: what each released version of the tables had, so that a declaration cannot break a table that exists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Column, ColumnChange, ColumnKind, Description};

/// The released tables, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Lock(BTreeMap<String, LockedTable>);

/// A released table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LockedTable {
    version: u32,
    key: String,
    columns: BTreeMap<String, LockedColumn>,
}

/// A column of a released table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LockedColumn {
    kind: ColumnKind,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
    since: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    indexed: Option<u32>,
}

impl Lock {
    /// The lock of these tables.
    pub(crate) fn of<'d>(tables: impl IntoIterator<Item = &'d Description>) -> Self {
        let table = |table: &Description| {
            let columns =
                table.columns.iter().map(|column| (column.name.to_owned(), LockedColumn::of(column))).collect();
            let locked = LockedTable { version: table.version(), key: table.key().name.to_owned(), columns };
            (table.table.to_owned(), locked)
        };
        Self(tables.into_iter().map(table).collect())
    }

    /// How the declared tables break what was released, each with its remedy.
    pub(crate) fn broken<'d>(&self, tables: impl IntoIterator<Item = &'d Description>) -> Vec<String> {
        let declared: BTreeMap<&str, &Description> = tables.into_iter().map(|table| (table.table, table)).collect();
        let mut broken = Vec::new();
        for (name, released) in &self.0 {
            match declared.get(&**name) {
                Some(table) => released.compare(table, &mut broken),
                None => broken.push(format!(
                    "the table {name} was released, and no entity declares it: declare it, or remove it from the lock and its rows \
                     from the store"
                )),
            }
        }
        broken
    }
}

impl LockedTable {
    fn compare(&self, table: &Description, broken: &mut Vec<String>) {
        let name = table.table;
        if table.version() < self.version {
            broken.push(format!(
                "the table {name} was released with version {}, and is declared with version {}: a store of that release does \
                 not open; keep every `since`",
                self.version,
                table.version()
            ));
        }
        if table.key().name != self.key && self.name_now(table, &self.key) != Some(table.key().name) {
            broken.push(format!(
                "the key of {name} was the column {}, and is {} now: a table keeps its key; declare another table",
                self.key,
                table.key().name
            ));
        }
        for (former, released) in &self.columns {
            let Some(now) = self.name_now(table, former) else { continue };
            match table.columns.iter().find(|column| column.name == now) {
                Some(column) => released.compare(name, column, broken),
                None => broken.push(format!(
                    "the column {name}.{former} was released, and no field has it: write `dropped(column = \"{former}\", since = \
                     {next})` or `renamed(from = \"{former}\", to = …, since = {next})` in `#[entity]`",
                    next = self.version + 1
                )),
            }
        }
        let known: Vec<&str> = self.columns.keys().filter_map(|former| self.name_now(table, former)).collect();
        for column in table.columns.iter().filter(|column| !known.contains(&column.name)) {
            if column.since <= self.version {
                broken.push(format!(
                    "the column {name}.{} is new, and version {} was released without it: write `since = {}`",
                    column.name,
                    self.version,
                    self.version + 1
                ));
            }
        }
    }

    /// The name that a released column has after the later steps; `None` if one of them drops it.
    fn name_now<'n>(&self, table: &'n Description, released: &'n str) -> Option<&'n str> {
        let mut steps: Vec<_> = table.steps.iter().filter(|step| step.since > self.version).collect();
        steps.sort_by_key(|step| step.since);
        let mut name = released;
        for step in steps {
            match step.change {
                ColumnChange::Renamed { from, to } if from == name => name = to,
                ColumnChange::Dropped { column } if column == name => return None,
                _ => {}
            }
        }
        Some(name)
    }
}

impl LockedColumn {
    fn of(column: &Column) -> Self {
        let Column { kind, optional, since, indexed, .. } = *column;
        Self { kind, optional, since, indexed }
    }

    fn compare(&self, table: &str, column: &Column, broken: &mut Vec<String>) {
        let name = column.name;
        if column.kind != self.kind || column.optional != self.optional {
            broken.push(format!(
                "the column {table}.{name} was released as {}, and is {} now: keep its type, or add a column of another name",
                described(self.kind, self.optional),
                described(column.kind, column.optional)
            ));
        }
        if column.since != self.since {
            broken.push(format!(
                "the column {table}.{name} was released with `since = {}`, and has `since = {}` now: keep it",
                self.since, column.since
            ));
        }
        if column.indexed.is_some() && self.indexed.is_some() && column.indexed != self.indexed {
            broken.push(format!("the filter by {table}.{name} was released with another version: keep it"));
        }
    }
}

fn described(kind: ColumnKind, optional: bool) -> String {
    let kind = match kind {
        ColumnKind::Text => "a text",
        ColumnKind::Integer => "an integer",
        ColumnKind::Boolean => "a boolean",
        ColumnKind::Real => "a floating-point number",
        ColumnKind::Decimal => "a decimal number",
        ColumnKind::Json => "a JSON document",
        ColumnKind::Time => "a time",
        ColumnKind::Bytes => "bytes",
    };
    if optional { format!("{kind} that may be absent") } else { kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{super::Step, *};

    const ID: Column = Column {
        name: "id",
        field: "id",
        kind: ColumnKind::Text,
        optional: false,
        fixed: false,
        since: 1,
        default: None,
        indexed: None,
    };
    const STATUS: Column = Column { name: "status", field: "status", ..ID };
    const NOTE: Column = Column { name: "note", field: "note", optional: true, since: 2, ..ID };

    fn table(columns: &'static [Column], steps: &'static [Step]) -> Description {
        Description { table: "things", columns, key: 0, steps }
    }

    fn broken(declared: &Description) -> Vec<String> {
        let released = Lock::of([&table(&[ID, STATUS, NOTE], &[])]);
        let text = serde_json::to_string(&released).expect("JSON");
        serde_json::from_str::<Lock>(&text).expect("the same lock").broken([declared])
    }

    fn one(declared: &Description) -> String {
        let mut broken = broken(declared);
        assert_eq!(broken.len(), 1, "{broken:?}");
        broken.remove(0)
    }

    #[test]
    fn what_a_new_version_adds_renames_or_drops_breaks_nothing() {
        const LATER: Column = Column { name: "size", kind: ColumnKind::Integer, since: 3, default: Some("1"), ..ID };
        const RENAMED: Column = Column { name: "state", ..STATUS };
        const STEPS: &[Step] = &[
            Step { since: 3, change: ColumnChange::Renamed { from: "status", to: "state" } },
            Step { since: 4, change: ColumnChange::Dropped { column: "note" } },
        ];
        assert_eq!(broken(&table(&[ID, STATUS, NOTE, LATER], &[])), [""; 0]);
        assert_eq!(broken(&table(&[ID, RENAMED], STEPS)), [""; 0]);
    }

    #[test]
    fn a_changed_kind_is_named() {
        const OTHER: Column = Column { kind: ColumnKind::Integer, ..STATUS };
        let text = one(&table(&[ID, OTHER, NOTE], &[]));
        assert!(text.contains("things.status was released as a text, and is an integer now"), "{text}");
    }

    #[test]
    fn a_lost_column_is_named_with_both_steps() {
        let text = one(&table(&[ID, NOTE], &[]));
        assert!(text.contains("dropped(column = \"status\", since = 3)") && text.contains("renamed("), "{text}");
    }

    #[test]
    fn a_column_that_was_added_to_a_released_version_is_named() {
        const NEW: Column = Column { name: "size", ..STATUS };
        let text = one(&table(&[ID, STATUS, NOTE, NEW], &[]));
        assert!(text.contains("things.size is new") && text.contains("since = 3"), "{text}");
    }

    #[test]
    fn a_lost_version_a_lost_table_and_another_key_are_named() {
        const EARLIER: Column = Column { since: 1, ..NOTE };
        let texts = broken(&table(&[ID, STATUS, EARLIER], &[]));
        assert!(texts.iter().any(|text| text.contains("version 2, and is declared with version 1")), "{texts:?}");
        let other = Description { table: "others", ..table(&[ID], &[]) };
        assert!(one(&other).contains("no entity declares it"));
        let text = one(&Description { key: 1, ..table(&[ID, STATUS, NOTE], &[]) });
        assert!(text.contains("the key of things was the column id, and is status now"), "{text}");
    }
}
