//! The statements that create a table, and bring it from one version to the next.
//!
//! A new table is created as its latest version has it. An older one is brought up to date version by version: renamed columns,
//! then dropped ones, then added ones, then new indexes.

use super::{Column, ColumnChange, ColumnKind, Description};
use crate::store::migrations::Dialect;

impl Dialect {
    /// The type of a column.
    pub(super) fn type_of(self, kind: ColumnKind) -> &'static str {
        match (self, kind) {
            (Self::Sqlite, ColumnKind::Text | ColumnKind::Decimal | ColumnKind::Json) => "TEXT",
            (Self::Sqlite, ColumnKind::Integer | ColumnKind::Boolean | ColumnKind::Time) => "INTEGER",
            (Self::Sqlite, ColumnKind::Real) => "REAL",
            (Self::Sqlite, ColumnKind::Bytes) => "BLOB",
            (Self::Postgres, ColumnKind::Text) => "text",
            (Self::Postgres, ColumnKind::Integer) => "bigint",
            (Self::Postgres, ColumnKind::Boolean) => "boolean",
            (Self::Postgres, ColumnKind::Real) => "double precision",
            (Self::Postgres, ColumnKind::Decimal) => "numeric",
            (Self::Postgres, ColumnKind::Json) => "jsonb",
            (Self::Postgres, ColumnKind::Time) => "timestamptz",
            (Self::Postgres, ColumnKind::Bytes) => "bytea",
        }
    }

    /// The columns that the runtime keeps beside those of the entity.
    fn kept(self) -> &'static str {
        match self {
            Self::Sqlite => "version INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL",
            Self::Postgres => {
                "version bigint NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL"
            }
        }
    }

    /// The options of a new table. `WITHOUT ROWID` stores the rows in the tree of the primary key; otherwise SQLite would keep a
    /// second tree for it.
    fn options(self) -> &'static str {
        match self {
            Self::Sqlite => " STRICT, WITHOUT ROWID",
            Self::Postgres => "",
        }
    }

    /// The column of the key in an index. Pages are in the order of the ids' bytes, which a collation of PostgreSQL may change.
    fn key_in_index(self, key: &str) -> String {
        match self {
            Self::Sqlite => quoted(key),
            Self::Postgres => format!("{} COLLATE \"C\"", quoted(key)),
        }
    }
}

/// An identifier that may be a word of SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

impl Description {
    /// The statements that bring a table of version `from` to the latest version; 0 for a table that does not exist.
    pub(crate) fn migration(&self, dialect: Dialect, from: u32) -> Vec<String> {
        if from == 0 {
            return self.create(dialect);
        }
        (from + 1..=self.version()).flat_map(|version| self.steps_to(dialect, version)).collect()
    }

    fn create(&self, dialect: Dialect) -> Vec<String> {
        let columns: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let key = if index == self.key { " PRIMARY KEY" } else { "" };
                definition(dialect, column, key)
            })
            .collect();
        let (table, columns) = (quoted(self.table), columns.join(", "));
        let mut statements = vec![format!("CREATE TABLE {table} ({columns}, {}){}", dialect.kept(), dialect.options())];
        if dialect == Dialect::Postgres {
            let key = dialect.key_in_index(self.key().name);
            statements.push(format!("CREATE INDEX {} ON {table} ({key})", quoted(&format!("{}_by_id", self.table))));
        }
        let indexed = self.columns.iter().filter(|column| column.indexed.is_some());
        statements.extend(indexed.map(|column| self.index(dialect, column)));
        statements
    }

    fn steps_to(&self, dialect: Dialect, version: u32) -> Vec<String> {
        let table = quoted(self.table);
        let steps = || self.steps.iter().filter(|step| step.since == version).map(|step| step.change);
        let renamed = steps().filter_map(|change| match change {
            ColumnChange::Renamed { from, to } => {
                Some(format!("ALTER TABLE {table} RENAME COLUMN {} TO {}", quoted(from), quoted(to)))
            }
            ColumnChange::Dropped { .. } => None,
        });
        let dropped = steps().filter_map(|change| match change {
            ColumnChange::Dropped { column } => Some([
                // SQLite does not drop a column that has an index.
                format!("DROP INDEX IF EXISTS {}", self.index_name(column)),
                format!("ALTER TABLE {table} DROP COLUMN {}", quoted(column)),
            ]),
            ColumnChange::Renamed { .. } => None,
        });
        let added = self.columns.iter().filter(|column| column.since == version).map(|column| {
            let default = column.default.map(|literal| format!(" DEFAULT {literal}")).unwrap_or_default();
            format!("ALTER TABLE {table} ADD COLUMN {}", definition(dialect, column, &default))
        });
        let indexed = self.columns.iter().filter(|column| column.indexed == Some(version));
        let indexed = indexed.map(|column| self.index(dialect, column));
        renamed.chain(dropped.flatten()).chain(added).chain(indexed).collect()
    }

    fn index(&self, dialect: Dialect, column: &Column) -> String {
        let (name, table) = (self.index_name(column.name), quoted(self.table));
        let (column, key) = (quoted(column.name), dialect.key_in_index(self.key().name));
        format!("CREATE INDEX {name} ON {table} ({column}, {key})")
    }

    fn index_name(&self, column: &str) -> String {
        quoted(&format!("{}_by_{column}", self.table))
    }
}

fn definition(dialect: Dialect, column: &Column, more: &str) -> String {
    let null = if column.optional { "" } else { " NOT NULL" };
    format!("{} {}{more}{null}", quoted(column.name), dialect.type_of(column.kind))
}
