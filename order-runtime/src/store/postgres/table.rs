//! The table of one entity type in PostgreSQL, with the type erased.

use std::{any::Any, marker::PhantomData};

use async_trait::async_trait;
use serde_json::Value;

use super::{Client, PostgresEntity};
use crate::store::{Change, Listed, Page, Row, StoreError, Writes, entity::typed};

/// An id as text, and the version that its row must have; 0 means absent.
pub(super) type Expected = (String, u64);

/// [`PostgresEntity`] with the type erased.
#[async_trait]
pub(crate) trait PostgresTable: Send + Sync {
    fn schema_version(&self) -> u32;
    fn migration(&self, from: u32) -> Vec<String>;
    /// The names of the table and of its id column.
    fn names(&self) -> (&'static str, &'static str);
    /// The texts of a `Vec<T::Id>`.
    fn texts(&self, ids: &dyn Any) -> Result<Vec<String>, StoreError>;
    /// The ids and versions that a `Vec<Change<T>>` expects.
    fn written(&self, changes: &dyn Any) -> Result<Vec<Expected>, StoreError>;
    /// The ids and versions that a `Vec<(T::Id, u64)>` expects.
    fn read(&self, reads: &dyn Any) -> Result<Vec<Expected>, StoreError>;
    /// Loads rows; the result is a `Vec<Row<T>>`.
    async fn load(&self, db: &Client, ids: &[String]) -> Result<Box<dyn Any + Send>, StoreError>;
    /// Writes several `Vec<Change<T>>`, whose rows are locked. Returns false if a row to
    /// insert exists by now, or a row to update or to remove does not exist.
    async fn save(&self, db: &Client, changes: &[&(dyn Any + Send + Sync)]) -> Result<bool, StoreError>;
    async fn view(&self, db: &Client, id: &str) -> Result<Option<Value>, StoreError>;
    async fn page(&self, db: &Client, page: &Page) -> Result<Vec<Listed>, StoreError>;
}

/// The table of one entity type.
pub(crate) struct Table<T>(PhantomData<fn() -> T>);

impl<T> Table<T> {
    pub(crate) const NEW: Self = Self(PhantomData);
}

/// Whether PostgreSQL's `text` can hold the value, which must not contain a NUL. No stored id contains one.
fn is_text(id: &str) -> bool {
    !id.contains('\0')
}

#[async_trait]
impl<T: PostgresEntity> PostgresTable for Table<T> {
    fn schema_version(&self) -> u32 {
        T::schema_version()
    }

    fn migration(&self, from: u32) -> Vec<String> {
        T::migration(from)
    }

    fn names(&self) -> (&'static str, &'static str) {
        (T::TABLE, T::ID)
    }

    fn texts(&self, ids: &dyn Any) -> Result<Vec<String>, StoreError> {
        let ids = typed::<Vec<T::Id>>(ids)?.iter().map(ToString::to_string);
        Ok(ids.filter(|id| is_text(id)).collect())
    }

    fn written(&self, changes: &dyn Any) -> Result<Vec<Expected>, StoreError> {
        let changes = typed::<Vec<Change<T>>>(changes)?.iter();
        changes
            .map(|change| {
                let id = change.id().to_string();
                if is_text(&id) {
                    Ok((id, change.expected()))
                } else {
                    Err(StoreError::Refused("an id contains a NUL, which PostgreSQL cannot store".to_owned()))
                }
            })
            .collect()
    }

    fn read(&self, reads: &dyn Any) -> Result<Vec<Expected>, StoreError> {
        let reads = typed::<Vec<(T::Id, u64)>>(reads)?.iter().map(|(id, version)| (id.to_string(), *version));
        Ok(reads.filter(|(id, _)| is_text(id)).collect())
    }

    async fn load(&self, db: &Client, ids: &[String]) -> Result<Box<dyn Any + Send>, StoreError> {
        Ok(Box::new(T::load(db, ids).await?))
    }

    async fn save(&self, db: &Client, changes: &[&(dyn Any + Send + Sync)]) -> Result<bool, StoreError> {
        let mut all = Vec::new();
        for changes in changes {
            all.extend(typed::<Vec<Change<T>>>(*changes)?);
        }
        let Writes { removed, mut inserted, updated } = Writes::of(all);
        let removed: Vec<String> = removed.into_iter().map(|(id, _)| id.to_string()).collect();
        let updated: Vec<&Row<T>> = updated.into_iter().map(|(row, _)| row).collect();
        // New rows are locked when they are inserted, so all writers insert in the same order.
        inserted.sort_unstable_by(|a, b| a.value.id().cmp(b.value.id()));
        let whole = |affected: u64, rows: usize| usize::try_from(affected).is_ok_and(|affected| affected == rows);
        if !removed.is_empty() && !whole(T::remove(db, &removed).await?, removed.len()) {
            return Ok(false);
        }
        if !inserted.is_empty() && !whole(T::insert(db, &inserted).await?, inserted.len()) {
            return Ok(false);
        }
        Ok(updated.is_empty() || whole(T::update(db, &updated).await?, updated.len()))
    }

    async fn view(&self, db: &Client, id: &str) -> Result<Option<Value>, StoreError> {
        // A text that does not parse as an id names no entity.
        let Ok(id) = id.parse::<T::Id>() else {
            return Ok(None);
        };
        let id = id.to_string();
        if !is_text(&id) {
            return Ok(None);
        }
        let rows = T::load(db, &[id]).await?;
        Ok(rows.first().map(Row::view))
    }

    async fn page(&self, db: &Client, page: &Page) -> Result<Vec<Listed>, StoreError> {
        // PostgreSQL cannot store a NUL: no row matches such a filter, and such an `after` is not the id of any row.
        let texts = page.filters.iter().map(|(_, value)| value).chain(&page.after);
        if texts.into_iter().any(|text| !is_text(text)) {
            return Ok(Vec::new());
        }
        let rows = T::page(db, page).await?;
        Ok(rows.iter().map(Row::listed).collect())
    }
}
