//! Entities: what a working set holds and a store keeps.

use std::{
    any::{Any, TypeId},
    fmt,
    hash::Hash,
    str::FromStr,
};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    StoreError,
    memory::MemoryTable,
    postgres::{PostgresEntity, PostgresTable},
    sqlite::{SqliteEntity, SqliteTable},
};

/// Something with an identity that events change; pure data, loaded and saved by the runtime as part of a set.
///
/// Its `Serialize` is the read model: the object that `GET /{name}/{id}` answers, completed by the runtime with
/// `version`, `createdAt` and `updatedAt`.
pub trait Entity: Clone + Serialize + Send + Sync + 'static {
    /// The identity; its text is the last part of the entity's address over HTTP and, as a rule, the Kafka key.
    type Id: Clone + Eq + Hash + Ord + fmt::Display + FromStr + Send + Sync + 'static;

    /// Query parameters of the read model, each the JSON name of a text field that a page can be filtered by. Each needs an index on
    /// the field and the id: without one, a page that finds little reads the whole table.
    const FILTERS: &'static [&'static str] = &[];

    /// Who it is.
    fn id(&self) -> &Self::Id;
}

/// An entity with what the runtime knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<T> {
    /// The entity.
    pub value: T,
    /// How many events have changed it; 1 after the first.
    pub version: u64,
    /// When the first of them was handled.
    pub created_at: Timestamp,
    /// When the last of them was handled.
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

    /// The row as a part of a page.
    pub(crate) fn listed(&self) -> Listed {
        Listed { id: self.value.id().to_string(), view: self.view() }
    }
}

/// An entity of a page.
#[derive(Debug)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its read model.
    pub view: serde_json::Value,
}

/// A row to be written, and the version that the store must hold for the writing to be right.
#[derive(Debug, Clone)]
pub struct Change<T> {
    /// The row as it shall be.
    pub row: Row<T>,
    /// The version that was read; 0 for an entity that must not exist yet.
    pub expected: u64,
}

/// A page of the read model: in the order of ids, after one id, with filters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The most entities to answer.
    pub limit: usize,
    /// Only ids behind this one.
    pub after: Option<String>,
    /// Field and wanted value; only names of [`Entity::FILTERS`].
    pub filters: Vec<(String, String)>,
}

/// One entity type with its types erased, for a store that keeps several.
#[derive(Clone, Copy)]
pub struct EntityType {
    /// The type's own name without its path, `Order` say.
    pub name: &'static str,
    /// The type.
    pub type_id: TypeId,
    /// [`Entity::FILTERS`].
    pub filters: &'static [&'static str],
    /// Parses Kafka keys as ids: a `Vec<T::Id>` of those that parse, as the hint of what to load.
    pub(crate) ids_of_keys: fn(&mut dyn Iterator<Item = &[u8]>) -> Box<dyn Any + Send>,
    pub(crate) new_set: fn() -> Box<dyn crate::store::loaded::AnySet>,
    pub(crate) sqlite: &'static dyn SqliteTable,
    pub(crate) postgres: &'static dyn PostgresTable,
    pub(crate) memory: fn() -> Box<dyn MemoryTable>,
}

impl EntityType {
    /// The erased form of `T`, which a store of every kind can keep.
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

/// Finds the type again behind an erased value that belongs to an [`EntityType`].
pub(crate) fn typed<V: Any>(value: &dyn Any) -> Result<&V, StoreError> {
    value.downcast_ref().ok_or_else(|| {
        StoreError::Refused(format!("a value is not the {} that its entity type says", std::any::type_name::<V>()))
    })
}
