//! Entities: the objects that a working set holds and a store keeps.

use std::{
    any::{Any, TypeId},
    fmt,
    hash::Hash,
    str::FromStr,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StoreError,
    memory::MemoryTable,
    postgres::{PostgresEntity, PostgresTable},
    sqlite::{SqliteEntity, SqliteTable},
};

/// A domain object with an identity, changed by events. It is pure data; the runtime loads and saves it as part of a set.
///
/// Its `Serialize` is the read model: the object that `GET /{table}/{id}` returns. The runtime adds `version`, `createdAt`
/// and `updatedAt`.
pub trait Entity: Clone + Serialize + Send + Sync + 'static {
    /// The identity. Its text is the last segment of the entity's HTTP path and, as a rule, the Kafka key.
    type Id: Clone + Eq + Hash + Ord + fmt::Display + FromStr + Send + Sync + 'static;

    /// The name of the entity's table, and of its read model: `GET /{table}`. Lower-case letters, digits and `_`.
    const TABLE: &'static str;

    /// Query parameters of the read model. Each is the JSON name of a field by which a page can be filtered. Each needs an
    /// index on the field and the id; without one, a page with few matches reads the whole table.
    const FILTERS: &'static [&'static str] = &[];

    /// The entity's id.
    fn id(&self) -> &Self::Id;
}

/// An entity with the metadata that the runtime keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<T> {
    /// The entity.
    pub value: T,
    /// How many events have changed it; 1 after the first.
    pub version: u64,
    /// When the first of these events was handled.
    pub created_at: Timestamp,
    /// When the last of these events was handled.
    pub updated_at: Timestamp,
}

impl<T: Entity> Row<T> {
    /// The read model: the entity's own fields, then `version`, `createdAt` and `updatedAt`.
    pub fn view(&self) -> serde_json::Value {
        let mut view = serde_json::to_value(&self.value).unwrap_or_default();
        if let Some(fields) = view.as_object_mut() {
            fields.insert("version".into(), self.version.into());
            fields.insert("createdAt".into(), self.created_at.to_string().into());
            fields.insert("updatedAt".into(), self.updated_at.to_string().into());
        }
        view
    }

    /// The row as an element of a page.
    pub(crate) fn listed(&self) -> Listed {
        Listed { id: self.value.id().to_string(), view: self.view() }
    }
}

/// An entity in a page of the read model.
#[derive(Debug)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its read model.
    pub view: serde_json::Value,
}

/// The change of a row, with the version that the store must still hold.
#[derive(Debug, Clone)]
pub enum Change<T: Entity> {
    /// The row is inserted, or its changing columns are updated.
    Put {
        /// The new row.
        row: Row<T>,
        /// The version that was read; 0 for an entity that must not exist yet.
        expected: u64,
    },
    /// The entity was removed and made anew: the whole row is written.
    Replace {
        /// The new row.
        row: Row<T>,
        /// The version that was read.
        expected: u64,
    },
    /// The row is deleted.
    Remove {
        /// The entity's id.
        id: T::Id,
        /// The version that was read.
        expected: u64,
    },
}

impl<T: Entity> Change<T> {
    /// The entity's id.
    pub fn id(&self) -> &T::Id {
        match self {
            Self::Put { row, .. } | Self::Replace { row, .. } => row.value.id(),
            Self::Remove { id, .. } => id,
        }
    }

    /// The new row; `None` for a removed one.
    pub fn row(&self) -> Option<&Row<T>> {
        match self {
            Self::Put { row, .. } | Self::Replace { row, .. } => Some(row),
            Self::Remove { .. } => None,
        }
    }

    /// The version that the store must still hold; 0 for an entity that must not exist yet.
    pub fn expected(&self) -> u64 {
        match self {
            Self::Put { expected, .. } | Self::Replace { expected, .. } | Self::Remove { expected, .. } => *expected,
        }
    }
}

/// Changes by what a store does: it removes rows, then inserts rows, then updates rows.
pub(crate) struct Writes<'c, T: Entity> {
    pub(crate) removed: Vec<(&'c T::Id, u64)>,
    pub(crate) inserted: Vec<&'c Row<T>>,
    pub(crate) updated: Vec<(&'c Row<T>, u64)>,
}

impl<'c, T: Entity> Writes<'c, T> {
    pub(crate) fn of(changes: impl IntoIterator<Item = &'c Change<T>>) -> Self {
        let mut writes = Self { removed: Vec::new(), inserted: Vec::new(), updated: Vec::new() };
        for change in changes {
            match change {
                Change::Put { row, expected: 0 } => writes.inserted.push(row),
                Change::Put { row, expected } => writes.updated.push((row, *expected)),
                Change::Replace { row, expected } => {
                    writes.removed.push((row.value.id(), *expected));
                    writes.inserted.push(row);
                }
                Change::Remove { id, expected } => writes.removed.push((id, *expected)),
            }
        }
        writes
    }
}

/// A request for a page of the read model, in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The maximum number of entities.
    pub limit: usize,
    /// Only entities whose id is greater than this one.
    pub after: Option<String>,
    /// Pairs of a field and the wanted value; only names of [`Entity::FILTERS`].
    pub filters: Vec<(String, String)>,
}

/// An entity type in type-erased form, so that a store can keep several.
#[derive(Clone, Copy)]
pub struct EntityType {
    /// The type's name without its path, for example `Thing`.
    pub name: &'static str,
    /// [`Entity::TABLE`].
    pub table: &'static str,
    /// The name of [`Entity::Id`] without its path, for example `ThingId`.
    pub id_type: &'static str,
    /// The type.
    pub type_id: TypeId,
    /// [`Entity::FILTERS`].
    pub filters: &'static [&'static str],
    /// Parses Kafka keys as ids and returns those that parse as a `Vec<T::Id>`: a hint of the rows to load.
    pub(crate) ids_of_keys: fn(&mut dyn Iterator<Item = &[u8]>) -> Box<dyn Any + Send>,
    pub(crate) new_set: fn() -> Box<dyn crate::store::loaded::AnySet>,
    pub(crate) sqlite: &'static dyn SqliteTable,
    pub(crate) postgres: &'static dyn PostgresTable,
    pub(crate) memory: fn() -> Box<dyn MemoryTable>,
}

impl EntityType {
    /// The erased form of `T`, which every kind of store can keep.
    pub fn of<T: SqliteEntity + PostgresEntity>() -> Self {
        Self {
            name: name_of::<T>(),
            table: T::TABLE,
            id_type: name_of::<T::Id>(),
            type_id: TypeId::of::<T>(),
            filters: T::FILTERS,
            ids_of_keys: |keys| {
                let ids: Vec<T::Id> = keys.filter_map(|key| std::str::from_utf8(key).ok()?.parse().ok()).collect();
                Box::new(ids)
            },
            new_set: crate::store::loaded::new_set::<T>,
            sqlite: const { &super::sqlite::Table::<T>::NEW },
            postgres: const { &super::postgres::Table::<T>::NEW },
            memory: super::memory::new_table::<T>,
        }
    }
}

/// The name of a type without its path.
fn name_of<T>() -> &'static str {
    let path = std::any::type_name::<T>();
    path.rsplit("::").next().unwrap_or(path)
}

impl fmt::Debug for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityType").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Downcasts an erased value that belongs to an [`EntityType`].
pub(crate) fn typed<V: Any>(value: &dyn Any) -> Result<&V, StoreError> {
    value.downcast_ref().ok_or_else(|| {
        StoreError::Refused(format!("a value of an entity is not of the type {}", std::any::type_name::<V>()))
    })
}

/// The part of the store that serves entities over HTTP.
#[async_trait]
pub trait ReadModel: Send + Sync + 'static {
    /// The read model of one entity, by the text of its id; `None` if it does not exist.
    async fn view(&self, entity: EntityType, id: &str) -> Result<Option<serde_json::Value>, StoreError>;

    /// A page of an entity's read model.
    async fn page(&self, entity: EntityType, page: Page) -> Result<Vec<Listed>, StoreError>;
}
