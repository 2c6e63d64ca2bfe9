//! How entities with a described table are loaded and saved.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio_postgres::types::ToSql;

use super::{Client, PostgresEntity, PostgresError};
use crate::store::{
    Page, Row,
    columns::row_limit,
    migrations::Dialect,
    table::{Cell, Cells, ColumnError, ColumnKind, TableEntity},
};

/// The values of one column in several rows, as one parameter.
type Array<'a> = Box<dyn ToSql + Sync + Send + 'a>;

impl<T: TableEntity> PostgresEntity for T {
    const ID: &'static str = T::DESCRIPTION.columns[T::DESCRIPTION.key].name;

    fn schema_version() -> u32 {
        T::DESCRIPTION.version()
    }

    fn migration(from: u32) -> Vec<String> {
        T::DESCRIPTION.migration(Dialect::Postgres, from)
    }

    async fn load(db: &Client, ids: &[String]) -> Result<Vec<Row<Self>>, PostgresError> {
        let statement = db.prepare_cached(&T::statements().postgres.load).await?;
        db.query(&statement, &[&ids]).await?.iter().map(row).collect()
    }

    async fn insert(db: &Client, rows: &[&Row<Self>]) -> Result<u64, PostgresError> {
        let statement = db.prepare_cached(&T::statements().postgres.insert).await?;
        let all: Vec<usize> = (0..T::DESCRIPTION.columns.len()).collect();
        let mut arrays = arrays(rows, &all)?;
        arrays.push(Box::new(versions(rows)?));
        arrays.push(Box::new(times(rows, |row| row.created_at)?));
        arrays.push(Box::new(times(rows, |row| row.updated_at)?));
        Ok(db.execute(&statement, &parameters(&arrays)).await?)
    }

    async fn update(db: &Client, rows: &[&Row<Self>]) -> Result<u64, PostgresError> {
        let statements = T::statements();
        let statement = db.prepare_cached(&statements.postgres.update).await?;
        let mut arrays = arrays(rows, &statements.changing)?;
        arrays.push(Box::new(versions(rows)?));
        arrays.push(Box::new(times(rows, |row| row.updated_at)?));
        arrays.push(Box::new(rows.iter().map(|row| row.value.id().to_string()).collect::<Vec<_>>()));
        Ok(db.execute(&statement, &parameters(&arrays)).await?)
    }

    async fn remove(db: &Client, ids: &[String]) -> Result<u64, PostgresError> {
        let statement = db.prepare_cached(&T::statements().postgres.remove).await?;
        Ok(db.execute(&statement, &[&ids]).await?)
    }

    async fn page(db: &Client, page: &Page) -> Result<Vec<Row<Self>>, PostgresError> {
        let Some((statement, filters)) = T::statements().page(Dialect::Postgres, page) else { return Ok(Vec::new()) };
        let statement = db.prepare_cached(&statement).await?;
        let (after, limit) = (page.after.as_deref().unwrap_or_default(), row_limit(page.limit));
        let filters: Vec<&(dyn ToSql + Sync)> = filters.iter().map(filter).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            [&after as &(dyn ToSql + Sync), &limit].into_iter().chain(filters).collect();
        db.query(&statement, &parameters).await?.iter().map(row).collect()
    }
}

/// The value of a filter; `ColumnKind::parse` makes no others.
fn filter<'c>(cell: &'c Cell<'_>) -> &'c (dyn ToSql + Sync) {
    match cell {
        Cell::Integer(integer) => integer,
        Cell::Boolean(boolean) => boolean,
        Cell::Text(text) => text,
        Cell::Real(real) => real,
        Cell::Null | Cell::Time(_) | Cell::Bytes(_) => &None::<&str>,
    }
}

fn parameters<'a>(arrays: &'a [Array<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    arrays.iter().map(|array| &**array as &(dyn ToSql + Sync)).collect()
}

/// The values of these columns.
fn arrays<'r, T: TableEntity>(rows: &[&'r Row<T>], columns: &[usize]) -> Result<Vec<Array<'r>>, PostgresError> {
    let array_of = |column: &usize| {
        let cells: Vec<Cell<'r>> =
            rows.iter().map(|row| row.value.cell(*column).map_err(PostgresError::data)).collect::<Result<_, _>>()?;
        array(T::DESCRIPTION.columns[*column].kind, cells.into_iter())
    };
    columns.iter().map(array_of).collect()
}

/// The values of a column of this kind.
fn array<'r>(kind: ColumnKind, cells: impl Iterator<Item = Cell<'r>>) -> Result<Array<'r>, PostgresError> {
    macro_rules! of {
        ($cell:ident) => {
            Box::new(
                cells
                    .map(|cell| match cell {
                        Cell::$cell(value) => Some(value),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            )
        };
    }
    Ok(match kind {
        ColumnKind::Text | ColumnKind::Decimal | ColumnKind::Json => of!(Text),
        ColumnKind::Integer => of!(Integer),
        ColumnKind::Boolean => of!(Boolean),
        ColumnKind::Real => of!(Real),
        ColumnKind::Bytes => of!(Bytes),
        ColumnKind::Time => {
            let times = cells.map(|cell| match cell {
                Cell::Time(time) => system_time(time).map(Some),
                _ => Ok(None),
            });
            Box::new(times.collect::<Result<Vec<_>, _>>()?)
        }
    })
}

fn versions<T>(rows: &[&Row<T>]) -> Result<Vec<i64>, PostgresError> {
    rows.iter().map(|row| i64::try_from(row.version).map_err(PostgresError::data)).collect()
}

fn times<T>(rows: &[&Row<T>], of: fn(&Row<T>) -> Timestamp) -> Result<Vec<SystemTime>, PostgresError> {
    rows.iter().map(|row| system_time(of(row))).collect()
}

/// The driver's type for `timestamptz`.
fn system_time(time: Timestamp) -> Result<SystemTime, PostgresError> {
    SystemTime::try_from(time).map_err(PostgresError::data)
}

impl Cells for tokio_postgres::Row {
    fn cell(&self, index: usize, kind: ColumnKind) -> Result<Cell<'_>, ColumnError> {
        let cell = match kind {
            ColumnKind::Text | ColumnKind::Decimal | ColumnKind::Json => {
                self.try_get::<_, Option<&str>>(index).map(|text| text.map(|text| Cell::Text(text.into())))
            }
            ColumnKind::Integer => self.try_get::<_, Option<i64>>(index).map(|integer| integer.map(Cell::Integer)),
            ColumnKind::Boolean => self.try_get::<_, Option<bool>>(index).map(|boolean| boolean.map(Cell::Boolean)),
            ColumnKind::Real => self.try_get::<_, Option<f64>>(index).map(|real| real.map(Cell::Real)),
            ColumnKind::Bytes => {
                self.try_get::<_, Option<&[u8]>>(index).map(|bytes| bytes.map(|bytes| Cell::Bytes(bytes.into())))
            }
            ColumnKind::Time => {
                let time = self.try_get::<_, Option<SystemTime>>(index).map_err(ColumnError::new)?;
                let time = time.map(Timestamp::try_from).transpose().map_err(ColumnError::new)?;
                return Ok(time.map_or(Cell::Null, Cell::Time));
            }
        };
        cell.map(|cell| cell.unwrap_or(Cell::Null)).map_err(ColumnError::new)
    }
}

fn row<T: TableEntity>(row: &tokio_postgres::Row) -> Result<Row<T>, PostgresError> {
    let kept = T::DESCRIPTION.columns.len();
    let time = |index| Timestamp::try_from(row.try_get::<_, SystemTime>(index)?).map_err(PostgresError::data);
    Ok(Row {
        value: T::from_row(row).map_err(PostgresError::data)?,
        version: u64::try_from(row.try_get::<_, i64>(kept)?).map_err(PostgresError::data)?,
        created_at: time(kept + 1)?,
        updated_at: time(kept + 2)?,
    })
}
