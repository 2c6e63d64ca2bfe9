//! The tables of entities in memory, with the entity type erased.

use std::{
    any::{Any, TypeId},
    collections::{HashMap, HashSet},
};

use foldhash::fast::RandomState;
use serde_json::Value;

use crate::store::{Change, Changes, Entity, EntityType, Listed, Load, Page, Row, StoreError, entity::typed};

/// The rows of one entity type, with the type erased.
pub(crate) trait MemoryTable: Send {
    /// Loads rows. `ids` is a `Vec<T::Id>`, the result a `Vec<Row<T>>`.
    fn load(&self, ids: &dyn Any) -> Result<Box<dyn Any + Send>, StoreError>;
    /// The ids of a `Vec<T::Id>` that have no row and were not removed, as a `Vec<T::Id>`.
    fn missing(&self, ids: &dyn Any) -> Result<Box<dyn Any + Send>, StoreError>;
    /// Adds a `Vec<Row<T>>` of another store; existing rows are kept.
    fn absorb(&mut self, rows: &dyn Any) -> Result<(), StoreError>;
    /// Whether the store has the version that each element of a `Vec<Change<T>>` expects.
    fn accepts(&self, changes: &dyn Any) -> Result<bool, StoreError>;
    /// Whether every row of a `Vec<(T::Id, u64)>` still has that version; 0 means absent.
    fn unchanged(&self, reads: &dyn Any) -> Result<bool, StoreError>;
    /// Writes a `Vec<Change<T>>` that was accepted. An overlay remembers which rows it has removed.
    fn save(&mut self, changes: &dyn Any, is_overlay: bool) -> Result<(), StoreError>;
    fn view(&self, id: &str) -> Option<Value>;
    fn page(&self, page: &Page) -> Vec<Listed>;
}

/// The tables of all entity types, each created on first use.
#[derive(Default)]
pub(crate) struct Tables {
    tables: HashMap<TypeId, Box<dyn MemoryTable>>,
    /// Whether the tables lie over those of another store, from which a removed row must not be read again.
    is_overlay: bool,
}

impl Tables {
    /// Tables over those of another store.
    pub(crate) fn overlay() -> Self {
        Self { is_overlay: true, ..Self::default() }
    }

    pub(crate) fn of(&mut self, entity: EntityType) -> &mut dyn MemoryTable {
        self.tables.entry(entity.type_id).or_insert_with(entity.memory).as_mut()
    }

    /// The wanted rows that exist, by type.
    pub(crate) fn load(&mut self, wanted: &Load) -> Result<Vec<Box<dyn Any + Send>>, StoreError> {
        let load = |(entity, ids): &(EntityType, Box<dyn Any + Send>)| {
            let ids: &(dyn Any + Send) = ids.as_ref();
            self.of(*entity).load(ids)
        };
        wanted.entities.iter().map(load).collect()
    }

    /// Whether every row that was read or is to be written still has the version that was read.
    pub(crate) fn are_as_read(&mut self, changes: &Changes) -> Result<bool, StoreError> {
        for (entity, written) in &changes.entities {
            let written: &(dyn Any + Send + Sync) = written.as_ref();
            if !self.of(*entity).accepts(written)? {
                return Ok(false);
            }
        }
        for (entity, read) in &changes.reads {
            let read: &(dyn Any + Send + Sync) = read.as_ref();
            if !self.of(*entity).unchanged(read)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes rows for which [`are_as_read`](Self::are_as_read) holds.
    pub(crate) fn save(&mut self, changes: &Changes) -> Result<(), StoreError> {
        for (entity, written) in &changes.entities {
            let written: &(dyn Any + Send + Sync) = written.as_ref();
            let is_overlay = self.is_overlay;
            self.of(*entity).save(written, is_overlay)?;
        }
        Ok(())
    }
}

struct Table<T: Entity> {
    rows: HashMap<T::Id, Row<T>, RandomState>,
    /// The rows that an overlay has removed.
    removed: HashSet<T::Id, RandomState>,
}

pub(crate) fn new_table<T: Entity>() -> Box<dyn MemoryTable> {
    Box::new(Table::<T> { rows: HashMap::default(), removed: HashSet::default() })
}

impl<T: Entity> Table<T> {
    fn version(&self, id: &T::Id) -> u64 {
        self.rows.get(id).map_or(0, |row| row.version)
    }
}

impl<T: Entity> MemoryTable for Table<T> {
    fn load(&self, ids: &dyn Any) -> Result<Box<dyn Any + Send>, StoreError> {
        let ids = typed::<Vec<T::Id>>(ids)?;
        let found: Vec<Row<T>> = ids.iter().filter_map(|id| self.rows.get(id).cloned()).collect();
        Ok(Box::new(found))
    }

    fn missing(&self, ids: &dyn Any) -> Result<Box<dyn Any + Send>, StoreError> {
        let ids = typed::<Vec<T::Id>>(ids)?;
        let missing: Vec<T::Id> =
            ids.iter().filter(|id| !self.rows.contains_key(*id) && !self.removed.contains(*id)).cloned().collect();
        Ok(Box::new(missing))
    }

    fn absorb(&mut self, rows: &dyn Any) -> Result<(), StoreError> {
        for row in typed::<Vec<Row<T>>>(rows)? {
            self.rows.entry(row.value.id().clone()).or_insert_with(|| row.clone());
        }
        Ok(())
    }

    fn accepts(&self, changes: &dyn Any) -> Result<bool, StoreError> {
        let changes = typed::<Vec<Change<T>>>(changes)?;
        Ok(changes.iter().all(|change| self.version(change.id()) == change.expected()))
    }

    fn unchanged(&self, reads: &dyn Any) -> Result<bool, StoreError> {
        let reads = typed::<Vec<(T::Id, u64)>>(reads)?;
        Ok(reads.iter().all(|(id, version)| self.version(id) == *version))
    }

    fn save(&mut self, changes: &dyn Any, is_overlay: bool) -> Result<(), StoreError> {
        for change in typed::<Vec<Change<T>>>(changes)? {
            match change {
                Change::Put { row, .. } | Change::Replace { row, .. } => {
                    self.removed.remove(row.value.id());
                    self.rows.insert(row.value.id().clone(), row.clone());
                }
                Change::Remove { id, .. } => {
                    self.rows.remove(id);
                    if is_overlay {
                        self.removed.insert(id.clone());
                    }
                }
            }
        }
        Ok(())
    }

    fn view(&self, id: &str) -> Option<Value> {
        self.rows.get(&id.parse().ok()?).map(Row::view)
    }

    fn page(&self, page: &Page) -> Vec<Listed> {
        let after: Option<T::Id> = match &page.after {
            None => None,
            Some(text) => match text.parse() {
                Ok(id) => Some(id),
                // A text that does not parse as an id has no place in the order of ids.
                Err(_) => return Vec::new(),
            },
        };
        let mut ids: Vec<&T::Id> =
            self.rows.keys().filter(|id| after.as_ref().is_none_or(|after| *id > after)).collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| self.rows.get(id).map(Row::listed))
            .filter(|listed| page.filters.iter().all(|(field, wanted)| is_text_of(&listed.view[field], wanted)))
            .take(page.limit)
            .collect()
    }
}

/// Whether a query parameter has this text for the value of a field.
fn is_text_of(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value == text,
        Value::Number(number) => number.to_string() == text,
        Value::Bool(truth) => text.parse() == Ok(*truth),
        _ => false,
    }
}
