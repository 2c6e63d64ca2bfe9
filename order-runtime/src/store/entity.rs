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
/// Its `Serialize` is the read model: the object that `GET /{name}/{id}` returns. The runtime adds `version`, `createdAt`
/// and `updatedAt`.
pub trait Entity: Clone + Serialize + Send + Sync + 'static {
    /// The identity. Its text is the last segment of the entity's HTTP path and, as a rule, the Kafka key.
    type Id: Clone + Eq + Hash + Ord + fmt::Display + FromStr + Send + Sync + 'static;

    /// Query parameters of the read model. Each is the JSON name of a text field by which a page can be filtered. Each needs
    /// an index on the field and the id; without one, a page with few matches reads the whole table.
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

/// A row to write, with the version that the store must still hold.
#[derive(Debug, Clone)]
pub struct Change<T> {
    /// The new row.
    pub row: Row<T>,
    /// The version that was read; 0 for an entity that must not exist yet.
    pub expected: u64,
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
    /// The type's name without its path, for example `Order`.
    pub name: &'static str,
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
        let path = std::any::type_name::<T>();
        Self {
            name: path.rsplit("::").next().unwrap_or(path),
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
