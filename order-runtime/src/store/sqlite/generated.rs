//! How entities with a described table are loaded and saved.

use std::rc::Rc;

use jiff::Timestamp;
use rusqlite::{
    Connection, Error, Statement, ToSql,
    types::{ToSqlOutput, Type, Value, ValueRef},
};

use super::SqliteEntity;
use crate::store::{
    Page, Row,
    migrations::Dialect,
    table::{Cell, Cells, ColumnError, ColumnKind, KEPT, TableEntity},
};

impl<T: TableEntity> SqliteEntity for T {
    fn schema_version() -> u32 {
        T::DESCRIPTION.version()
    }

    fn migration(from: u32) -> Vec<String> {
        T::DESCRIPTION.migration(Dialect::Sqlite, from)
    }

    fn load(db: &Connection, ids: &[Self::Id]) -> rusqlite::Result<Vec<Row<Self>>> {
        let mut statement = db.prepare_cached(&T::statements().sqlite.load)?;
        let ids = Rc::new(ids.iter().map(|id| Value::Text(id.to_string())).collect::<Vec<_>>());
        statement.query_map([ids], row)?.collect()
    }

    fn insert(db: &Connection, rows: &[&Row<Self>]) -> rusqlite::Result<usize> {
        let mut insert = db.prepare_cached(&T::statements().sqlite.insert)?;
        let rows = rows.iter().map(|row| {
            let mut binding = Binding::of(&mut insert);
            for column in 0..T::DESCRIPTION.columns.len() {
                binding.bind(row.value.cell(column).map_err(unwritable)?)?;
            }
            binding.bind(row.version)?;
            binding.bind(row.created_at.as_microsecond())?;
            binding.bind(row.updated_at.as_microsecond())?;
            insert.raw_execute()
        });
        rows.sum()
    }

    fn update(db: &Connection, rows: &[(&Row<Self>, u64)]) -> rusqlite::Result<usize> {
        let statements = T::statements();
        let mut update = db.prepare_cached(&statements.sqlite.update)?;
        let rows = rows.iter().map(|(row, expected)| {
            let mut binding = Binding::of(&mut update);
            for column in &statements.changing {
                binding.bind(row.value.cell(*column).map_err(unwritable)?)?;
            }
            binding.bind(row.version)?;
            binding.bind(row.updated_at.as_microsecond())?;
            binding.bind(row.value.cell(T::DESCRIPTION.key).map_err(unwritable)?)?;
            binding.bind(expected)?;
            update.raw_execute()
        });
        rows.sum()
    }

    fn remove(db: &Connection, ids: &[(&Self::Id, u64)]) -> rusqlite::Result<usize> {
        let mut remove = db.prepare_cached(&T::statements().sqlite.remove)?;
        ids.iter().map(|(id, expected)| remove.execute((id.to_string(), expected))).sum()
    }

    fn page(db: &Connection, page: &Page) -> rusqlite::Result<Vec<Row<Self>>> {
        let Some((statement, filters)) = T::statements().page(Dialect::Sqlite, page) else { return Ok(Vec::new()) };
        let mut statement = db.prepare_cached(&statement)?;
        let mut binding = Binding::of(&mut statement);
        binding.bind(page.after.as_deref().unwrap_or_default())?;
        binding.bind(page.limit)?;
        for filter in &filters {
            binding.bind(filter)?;
        }
        let rows = statement.raw_query().mapped(row::<T>);
        rows.collect()
    }
}

/// Binds parameters in their order.
struct Binding<'s, 'c> {
    statement: &'s mut Statement<'c>,
    bound: usize,
}

impl<'s, 'c> Binding<'s, 'c> {
    fn of(statement: &'s mut Statement<'c>) -> Self {
        Self { statement, bound: 0 }
    }

    fn bind(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.bound += 1;
        self.statement.raw_bind_parameter(self.bound, value)
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Integer(integer) => ToSqlOutput::Borrowed(ValueRef::Integer(*integer)),
            Self::Boolean(boolean) => ToSqlOutput::Borrowed(ValueRef::Integer((*boolean).into())),
            Self::Real(real) => ToSqlOutput::Borrowed(ValueRef::Real(*real)),
            Self::Time(time) => ToSqlOutput::Borrowed(ValueRef::Integer(time.as_microsecond())),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

impl Cells for rusqlite::Row<'_> {
    fn cell(&self, index: usize, kind: ColumnKind) -> Result<Cell<'_>, ColumnError> {
        let value = self.get_ref(index).map_err(ColumnError::new)?;
        match (kind, value) {
            (_, ValueRef::Null) => Ok(Cell::Null),
            (ColumnKind::Boolean, ValueRef::Integer(integer)) => Ok(Cell::Boolean(integer != 0)),
            (ColumnKind::Time, ValueRef::Integer(microseconds)) => {
                Timestamp::from_microsecond(microseconds).map(Cell::Time).map_err(ColumnError::new)
            }
            (_, ValueRef::Integer(integer)) => Ok(Cell::Integer(integer)),
            (_, ValueRef::Real(real)) => Ok(Cell::Real(real)),
            (_, ValueRef::Text(text)) => {
                std::str::from_utf8(text).map(|text| Cell::Text(text.into())).map_err(ColumnError::new)
            }
            (_, ValueRef::Blob(bytes)) => Ok(Cell::Bytes(bytes.into())),
        }
    }
}

fn row<T: TableEntity>(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row<T>> {
    let kept = T::DESCRIPTION.columns.len();
    let time = |index| {
        Timestamp::from_microsecond(row.get(kept + index)?)
            .map_err(|error| unreadable(ColumnError::new(error).of(KEPT[index])))
    };
    Ok(Row {
        value: T::from_row(row).map_err(unreadable)?,
        version: row.get(kept)?,
        created_at: time(1)?,
        updated_at: time(2)?,
    })
}

fn unreadable(error: ColumnError) -> Error {
    Error::FromSqlConversionFailure(0, Type::Null, Box::new(error))
}

fn unwritable(error: ColumnError) -> Error {
    Error::ToSqlConversionFailure(Box::new(error))
}
