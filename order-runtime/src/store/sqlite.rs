//! The embedded store: one SQLite file.

use std::{any::Any, marker::PhantomData};

pub use rusqlite;
use rusqlite::Connection;

use super::{Change, Entity, Page, Row};

/// How a *set* of entities of one type is loaded and saved in SQLite: written once, for all features.
///
/// The statements run on the runtime's connection and within its transaction; use `prepare_cached`, they run for every batch.
pub trait SqliteEntity: Entity {
    /// Statements that bring the schema from one version to the next, oldest first; never change one that was released.
    const MIGRATIONS: &'static [&'static str];

    /// Loads those of `ids` that exist, in any order.
    fn load(db: &Connection, ids: &[Self::Id]) -> rusqlite::Result<Vec<Row<Self>>>;

    /// Writes one change and answers how many rows it affected. A change with `expected` 0 inserts and must affect nothing
    /// when the entity exists; any other updates only the row whose version is `expected`.
    fn save(db: &Connection, change: &Change<Self>) -> rusqlite::Result<usize>;

    /// A page of entities in the order of their ids.
    fn page(db: &Connection, page: &Page) -> rusqlite::Result<Vec<Row<Self>>>;
}

/// [`SqliteEntity`] with the type erased.
pub(crate) trait SqliteTable: Send + Sync {
    fn migrations(&self) -> &'static [&'static str];
    /// `ids` is a `Vec<T::Id>`, the answer a `Vec<Row<T>>`.
    fn load(&self, db: &Connection, ids: &dyn Any) -> rusqlite::Result<Box<dyn Any + Send>>;
}

/// The table of one entity type.
pub(crate) struct Table<T>(PhantomData<fn() -> T>);

impl<T> Table<T> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<T: SqliteEntity> SqliteTable for Table<T> {
    fn migrations(&self) -> &'static [&'static str] {
        T::MIGRATIONS
    }

    fn load(&self, db: &Connection, ids: &dyn Any) -> rusqlite::Result<Box<dyn Any + Send>> {
        let rows = match ids.downcast_ref::<Vec<T::Id>>() {
            Some(ids) => T::load(db, ids)?,
            None => Vec::new(),
        };
        Ok(Box::new(rows))
    }
}
