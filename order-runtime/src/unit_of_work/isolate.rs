//! Finds the rows because of which the store refuses to load a set of rows.

use std::any::Any;

use tracing::error;

use super::Unit;
use crate::{
    model::PartitionId,
    store::{EntityType, Load, Store, StoreError},
};

impl Unit {
    /// Loads the missing rows in ever smaller parts, after the store failed to read all of them at once. A row that cannot be
    /// read alone either is marked: the events that need it wait, and all others have their rows.
    ///
    /// # Errors
    /// If the store does not answer. No row is filled in then.
    pub(crate) async fn isolate_unreadable(
        &self,
        partition: &PartitionId,
        store: &dyn Store,
        entities: &[EntityType],
    ) -> Result<(), StoreError> {
        let mut found = Vec::new();
        for entity in entities {
            let Some(ids) = self.on_set(*entity, |set| set.unanswered()) else { continue };
            let mut parts = vec![ids];
            while let Some(part) = parts.pop() {
                let copy = self.on_set(*entity, |set| set.copy(&*part));
                match load(store, *entity, copy).await {
                    Ok(rows) => found.push((*entity, rows)),
                    Err(StoreError::Refused(cause)) => {
                        let ids: &dyn Any = &*part;
                        match self.on_set(*entity, |set| set.halves(ids)).flatten() {
                            Some(halves) => parts.extend(halves),
                            None => self.mark(partition, *entity, ids, &cause),
                        }
                    }
                    Err(other) => return Err(other),
                }
            }
        }
        self.filled(found, entities);
        Ok(())
    }

    fn mark(&self, partition: &PartitionId, entity: EntityType, id: &dyn Any, cause: &str) {
        let news = self.on_set(entity, |set| set.mark_unreadable(entity.name, id, cause)).flatten();
        if let Some(why) = news {
            error!(%partition, "{why}; events that need this row wait until it is repaired or until they are dead-lettered with `waiting dead-letter`");
        }
    }
}

/// Loads the rows of these ids of one type.
async fn load(
    store: &dyn Store,
    entity: EntityType,
    ids: Option<Box<dyn Any + Send>>,
) -> Result<Box<dyn Any + Send>, StoreError> {
    let entities = ids.map(|ids| (entity, ids)).into_iter().collect();
    let loaded = store.load(Load { entities, ..Load::default() }).await?;
    Ok(loaded.entities.into_iter().next().unwrap_or_else(|| Box::new(())))
}
