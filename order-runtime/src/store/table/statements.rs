//! The statements that read and write the rows of a table, built once for each entity.

use super::{Cell, Column, ColumnKind, Description, KEPT, migration::quoted};
use crate::store::{Page, migrations::Dialect};

/// The statements for one table.
#[derive(Debug)]
pub struct Statements {
    description: Description,
    /// The indexes of the columns that an update writes.
    pub(crate) changing: Vec<usize>,
    pub(crate) sqlite: Dml,
    pub(crate) postgres: Dml,
}

/// The statements that read and write rows, in one dialect.
///
/// | statement | parameters in SQLite | parameters in PostgreSQL |
/// |---|---|---|
/// | `load` | the keys | an array of keys |
/// | `insert` | all columns, then version, created, updated | the same, an array each |
/// | `update` | the changing columns, version, updated, key, expected version | the same without the expected version, an array each |
/// | `remove` | key, expected version | an array of keys |
#[derive(Debug)]
pub(crate) struct Dml {
    pub(crate) load: String,
    pub(crate) insert: String,
    pub(crate) update: String,
    pub(crate) remove: String,
}

impl Statements {
    /// Builds the statements for a table.
    pub fn of(description: &Description) -> Self {
        let changing = (0..description.columns.len())
            .filter(|index| *index != description.key && !description.columns[*index].fixed)
            .collect::<Vec<_>>();
        let sqlite = sqlite(description, &changing);
        let postgres = postgres(description, &changing);
        Self { description: *description, changing, sqlite, postgres }
    }

    /// The statement for a page in the order of ids, and its parameters after the id to begin after, and the limit. `None` if no
    /// row can match the filters. Each set of filters has a statement of its own, because one for all of them would read the whole
    /// table.
    pub(crate) fn page<'p>(&self, dialect: Dialect, page: &'p Page) -> Option<(String, Vec<Cell<'p>>)> {
        let Description { table, columns, .. } = self.description;
        let key = quoted(self.description.key().name);
        let (sign, key) = match dialect {
            Dialect::Sqlite => ('?', key),
            Dialect::Postgres => ('$', format!("{key} COLLATE \"C\"")),
        };
        let mut conditions = vec![format!("{key} > {sign}1")];
        let mut parameters = Vec::new();
        for (field, value) in &page.filters {
            let Some(column) = self.description.filter(field) else { continue };
            parameters.push(column.kind.parse(value)?);
            conditions.push(format!("{} = {sign}{}", quoted(column.name), parameters.len() + 2));
        }
        let columns = selected(dialect, table, columns);
        let table = quoted(table);
        let statement =
            format!("SELECT {columns} FROM {table} WHERE {} ORDER BY {key} LIMIT {sign}2", conditions.join(" AND "));
        Some((statement, parameters))
    }
}

fn sqlite(description: &Description, changing: &[usize]) -> Dml {
    let table = quoted(description.table);
    let key = quoted(description.key().name);
    let selected = selected(Dialect::Sqlite, description.table, description.columns);
    let names = written(description.columns);
    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    let mut set: Vec<String> = changing.iter().map(|index| quoted(description.columns[*index].name)).collect();
    set.extend(["version".to_owned(), "updated_at".to_owned()]);
    let next = set.len() + 1;
    let set: Vec<String> = set.iter().enumerate().map(|(place, name)| format!("{name} = ?{}", place + 1)).collect();
    Dml {
        // `CROSS JOIN` makes SQLite look up the keys in their order, instead of reading the whole table.
        load: format!("SELECT {selected} FROM rarray(?1) AS wanted CROSS JOIN {table} ON {table}.{key} = wanted.value"),
        insert: format!(
            "INSERT INTO {table} ({}) VALUES ({}) ON CONFLICT DO NOTHING",
            names.join(", "),
            places.join(", ")
        ),
        update: format!("UPDATE {table} SET {} WHERE {key} = ?{next} AND version = ?{}", set.join(", "), next + 1),
        remove: format!("DELETE FROM {table} WHERE {key} = ?1 AND version = ?2"),
    }
}

fn postgres(description: &Description, changing: &[usize]) -> Dml {
    let Description { columns, .. } = description;
    let table = quoted(description.table);
    let key = quoted(description.key().name);
    let names = written(columns);
    let inserted: Vec<String> = columns
        .iter()
        .map(|column| format!("{}{}", quoted(column.name), cast(column.kind)))
        .chain(KEPT.map(ToOwned::to_owned))
        .collect();
    let arrays = columns.iter().map(|column| array(column.kind)).chain(["bigint[]", "timestamptz[]", "timestamptz[]"]);
    let insert = format!(
        "INSERT INTO {table} ({names}) SELECT {} FROM unnest({}) AS new ({names}) ON CONFLICT DO NOTHING",
        inserted.join(", "),
        parameters(arrays),
        names = names.join(", "),
    );
    let changed = || changing.iter().map(|index| &columns[*index]);
    let set: Vec<String> = changed()
        .map(|column| format!("{name} = changed.{name}{}", cast(column.kind), name = quoted(column.name)))
        .chain(["version", "updated_at"].map(|name| format!("{name} = changed.{name}")))
        .collect();
    let arrays = changed().map(|column| array(column.kind)).chain(["bigint[]", "timestamptz[]", "text[]"]);
    let changed_names: Vec<String> = changed()
        .map(|column| quoted(column.name))
        .chain(["version", "updated_at"].map(ToOwned::to_owned))
        .chain([key.clone()])
        .collect();
    Dml {
        load: format!(
            "SELECT {} FROM {table} WHERE {key} = ANY($1)",
            selected(Dialect::Postgres, description.table, columns)
        ),
        insert,
        update: format!(
            "UPDATE {table} SET {} FROM unnest({}) AS changed ({}) WHERE {table}.{key} = changed.{key}",
            set.join(", "),
            parameters(arrays),
            changed_names.join(", "),
        ),
        remove: format!("DELETE FROM {table} WHERE {key} = ANY($1)"),
    }
}

/// The columns in the order of reading, with the name of their table, because `rarray` has a column of its own. What has no Rust
/// counterpart in PostgreSQL's driver is read as text.
fn selected(dialect: Dialect, table: &str, columns: &[Column]) -> String {
    let table = quoted(table);
    let columns = columns.iter().map(|column| {
        let as_text = dialect == Dialect::Postgres && !cast(column.kind).is_empty();
        format!("{table}.{}{}", quoted(column.name), if as_text { "::text" } else { "" })
    });
    columns.chain(KEPT.map(|name| format!("{table}.{name}"))).collect::<Vec<_>>().join(", ")
}

/// The names of all columns, in the order of an insert.
fn written(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| quoted(column.name)).chain(KEPT.map(ToOwned::to_owned)).collect()
}

/// The cast from the type of a parameter of PostgreSQL to that of its column.
fn cast(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Decimal => "::numeric",
        ColumnKind::Json => "::jsonb",
        _ => "",
    }
}

/// The type of a parameter of PostgreSQL that holds the values of a column.
fn array(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text | ColumnKind::Decimal | ColumnKind::Json => "text[]",
        ColumnKind::Integer => "bigint[]",
        ColumnKind::Boolean => "boolean[]",
        ColumnKind::Real => "double precision[]",
        ColumnKind::Time => "timestamptz[]",
        ColumnKind::Bytes => "bytea[]",
    }
}

/// The parameters of `unnest`, with their types.
fn parameters<'t>(types: impl Iterator<Item = &'t str>) -> String {
    types.enumerate().map(|(place, name)| format!("${}::{name}", place + 1)).collect::<Vec<_>>().join(", ")
}
