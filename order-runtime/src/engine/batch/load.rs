//! The store requests of a batch: first one for the rows that its events will probably need, then those for look-ups that
//! found no loaded row.

use super::{Batch, Plan, attempt::Item, context::PartitionContext};
use crate::{
    engine::retry::waiting,
    model::DeadLetterId,
    store::{Load, StoreError},
};

impl PartitionContext {
    /// Finds the unreadable rows among the requested ones, and loads the others.
    pub(crate) async fn isolate_unreadable(&self) -> Result<(), StoreError> {
        let engine = &self.engine;
        self.unit.isolate_unreadable(&self.id, &*engine.store, &engine.entities).await
    }
}

impl Batch<'_> {
    /// Loads, in one request, the rows that the events of the plan will probably need.
    pub(crate) async fn load(&mut self, plan: &Plan) -> Result<(), StoreError> {
        let waited: Vec<Item> = plan.due.iter().flat_map(|queue| self.waiting.queue(queue).map(Item::waited)).collect();
        let behind: Vec<Item> =
            plan.finished.iter().flat_map(|finished| self.waiting.queue(&finished.queue).map(Item::waited)).collect();
        let ended = plan.finished.iter().map(|finished| finished.ended.item.record());
        let come = plan.records.iter().filter_map(|(records, index)| records.get(*index));
        let records = || waited.iter().chain(&behind).map(Item::record).chain(ended.clone()).chain(come.clone());

        let mut load = Load::default();
        let mut queue = Vec::new();
        let mut keys = Vec::new();
        for record in records() {
            let mut is_new = true;
            if self.partition.engine.remembers {
                waiting::queue_of(&record, &mut queue);
                let key = self.partition.window_key(&queue);
                is_new = self.effects.wants_window(&key);
                if is_new {
                    load.windows.push(key.into_owned());
                }
            }
            if is_new {
                keys.extend(record.key);
            }
            load.dead_letters.extend(record.header("dlq-id").and_then(DeadLetterId::parse));
        }
        for entity in &self.partition.engine.entities {
            self.partition.unit.prefetch(*entity, &mut keys.iter().copied());
        }
        self.request(load).await
    }

    /// Loads the rows that look-ups have requested.
    pub(super) async fn load_wanted(&mut self) -> Result<(), StoreError> {
        self.request(Load::default()).await
    }

    async fn request(&mut self, mut load: Load) -> Result<(), StoreError> {
        let engine = &self.partition.engine;
        load.entities = self.partition.unit.take_wanted(&engine.entities);
        if load.entities.is_empty() && load.windows.is_empty() && load.dead_letters.is_empty() {
            return Ok(());
        }
        let types: Vec<_> = load.entities.iter().map(|(entity, _)| *entity).collect();
        let letters = load.dead_letters.clone();
        let (partition, effects) = (self.partition, &self.effects);
        let answer = async {
            match engine.store.load(load).await {
                Err(StoreError::Refused(_)) if !types.is_empty() => {
                    partition.isolate_unreadable().await?;
                    let windows = effects.windows_to_load();
                    engine.store.load(Load { windows, dead_letters: letters, ..Load::default() }).await
                }
                answer => answer,
            }
        };
        let loaded = self.running.awaiting_store(&partition.status.progress, answer).await?;
        self.partition.unit.loaded(types.into_iter().zip(loaded.entities).collect());
        self.effects.add_windows(loaded.windows);
        let known = loaded.dead_letters.into_iter().map(|row| (row.dlq_id, row));
        self.effects.known_dead_letters.extend(known);
        Ok(())
    }
}
