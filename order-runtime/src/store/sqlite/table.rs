//! The table of one entity type in SQLite, with the type erased.

use std::{any::Any, collections::HashMap, marker::PhantomData};

use rusqlite::Connection;
use serde_json::Value;

use super::SqliteEntity;
use crate::store::{Change, Listed, Page, StoreError, Writes, entity::typed};

/// [`SqliteEntity`] with the type erased.
pub(crate) trait SqliteTable: Send + Sync {
    fn schema_version(&self) -> u32;
    fn migration(&self, from: u32) -> Vec<String>;
    /// Loads rows. `ids` is a `Vec<T::Id>`, the result a `Vec<Row<T>>`.
    fn load(&self, db: &Connection, ids: &dyn Any) -> Result<Box<dyn Any + Send>, StoreError>;
    /// Writes a `Vec<Change<T>>`. Returns false if the version of a row is not the expected one.
    fn save(&self, db: &Connection, changes: &dyn Any) -> Result<bool, StoreError>;
    /// Whether every row of a `Vec<(T::Id, u64)>` still has that version; 0 means absent.
    fn unchanged(&self, db: &Connection, reads: &dyn Any) -> Result<bool, StoreError>;
    fn view(&self, db: &Connection, id: &str) -> Result<Option<Value>, StoreError>;
    fn page(&self, db: &Connection, page: &Page) -> Result<Vec<Listed>, StoreError>;
}

/// The table of one entity type.
pub(crate) struct Table<T>(PhantomData<fn() -> T>);

impl<T> Table<T> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

impl<T: SqliteEntity> SqliteTable for Table<T> {
    fn schema_version(&self) -> u32 {
        T::schema_version()
    }

    fn migration(&self, from: u32) -> Vec<String> {
        T::migration(from)
    }

    fn load(&self, db: &Connection, ids: &dyn Any) -> Result<Box<dyn Any + Send>, StoreError> {
        Ok(Box::new(T::load(db, typed::<Vec<T::Id>>(ids)?)?))
    }

    fn save(&self, db: &Connection, changes: &dyn Any) -> Result<bool, StoreError> {
        let Writes { removed, inserted, updated } = Writes::of(typed::<Vec<Change<T>>>(changes)?);
        Ok((removed.is_empty() || T::remove(db, &removed)? == removed.len())
            && (inserted.is_empty() || T::insert(db, &inserted)? == inserted.len())
            && (updated.is_empty() || T::update(db, &updated)? == updated.len()))
    }

    fn unchanged(&self, db: &Connection, reads: &dyn Any) -> Result<bool, StoreError> {
        let reads = typed::<Vec<(T::Id, u64)>>(reads)?;
        let ids: Vec<T::Id> = reads.iter().map(|(id, _)| id.clone()).collect();
        let rows = T::load(db, &ids)?;
        let versions: HashMap<&T::Id, u64> = rows.iter().map(|row| (row.value.id(), row.version)).collect();
        Ok(reads.iter().all(|(id, version)| versions.get(id).copied().unwrap_or(0) == *version))
    }

    fn view(&self, db: &Connection, id: &str) -> Result<Option<Value>, StoreError> {
        // A text that does not parse as an id names no entity.
        let Ok(id) = id.parse::<T::Id>() else {
            return Ok(None);
        };
        let rows = T::load(db, &[id])?;
        Ok(rows.first().map(crate::store::Row::view))
    }

    fn page(&self, db: &Connection, page: &Page) -> Result<Vec<Listed>, StoreError> {
        let rows = T::page(db, page)?;
        Ok(rows.iter().map(crate::store::Row::listed).collect())
    }
}
