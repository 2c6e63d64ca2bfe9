//! The effects of one batch of one partition, applied when it is committed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use opentelemetry_sdk::trace::SpanData;

use super::attempt::Finished;
use crate::{
    engine::{
        observe::{event_log::Notables, status::BatchCounters},
        retry::{breaker::Trials, waiting::QueueId},
    },
    identity::{DedupWindow, UnreadableWindow},
    model::DeadLetterId,
    store::{DeadLetterRow, DedupRow, OutboxRecord, WaitingRow},
    telemetry::metrics::Timing,
};

/// The effects of a batch, collected while its events are handled.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// The deduplication windows that were requested from the store, including those that it does not have.
    windows: IndexMap<Vec<u8>, LoadedWindow, RandomState>,
    /// Waiting rows to write, by offset.
    pub(crate) waiting: BTreeMap<i64, WaitingRow>,
    /// Settled waiting rows, by offset, with their key queues.
    pub(crate) released: BTreeMap<i64, QueueId>,
    pub(crate) outbox: Vec<OutboxRecord>,
    pub(crate) dead_letters: Vec<Arc<DeadLetterRow>>,
    /// Dead letters that were loaded because the headers of a record name them: the record may be a replay.
    pub(crate) known_dead_letters: HashMap<DeadLetterId, DeadLetterRow, RandomState>,
    pub(crate) counters: BatchCounters,
    /// Spans to export after the commit; empty if no traces are exported.
    pub(crate) spans: Vec<SpanData>,
    /// The durations of its attempts.
    pub(crate) timing: Timing,
    /// First attempts, for the circuit breakers.
    pub(crate) trials: Trials,
    /// Due key queues that an open circuit breaker postpones, each with its delay.
    pub(crate) postponed: Vec<(QueueId, Duration)>,
    /// Events to log.
    pub(crate) notables: Notables,
    /// The size of the new records, in bytes.
    pub(crate) bytes: usize,
    /// The events that cause these effects.
    pub(crate) events: Events,
    /// Whether the only event was dead-lettered without an attempt.
    pub(crate) is_forced: bool,
    /// Attempts of earlier batches that ended while an event ran alone; each of them is settled in a batch of its own.
    pub(crate) ended_meanwhile: Vec<Finished>,
}

/// Counts the events that a batch has touched. Consecutive touches of one event count once.
#[derive(Debug, Default)]
pub(crate) struct Events {
    count: usize,
    last: i64,
}

impl Events {
    /// Counts the event at this offset; its effects follow.
    pub(crate) fn touch(&mut self, offset: i64) {
        if self.count == 0 || self.last != offset {
            self.count += 1;
            self.last = offset;
        }
    }

    /// The number of events, at least 1.
    pub(crate) fn count(&self) -> usize {
        self.count.max(1)
    }

    /// The offset of the event if there is exactly one.
    pub(crate) fn only(&self) -> Option<i64> {
        (self.count == 1).then_some(self.last)
    }
}

#[derive(Debug)]
struct LoadedWindow {
    version: u64,
    window: Result<DedupWindow, UnreadableWindow>,
    changed: bool,
}

impl Default for LoadedWindow {
    fn default() -> Self {
        Self { version: 0, window: Ok(DedupWindow::default()), changed: false }
    }
}

impl Effects {
    /// Whether there is nothing to write to the store.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
            && self.released.is_empty()
            && self.outbox.is_empty()
            && self.dead_letters.is_empty()
            && self.windows.values().all(|loaded| !loaded.changed)
    }

    /// Records that the window of this key is needed; true if it must still be requested from the store.
    pub(crate) fn wants_window(&mut self, key: &[u8]) -> bool {
        if self.windows.contains_key(key) {
            return false;
        }
        self.windows.insert(key.to_vec(), LoadedWindow::default());
        true
    }

    /// The keys of requested windows that have not been loaded, including those of windows that the store does not have.
    pub(crate) fn windows_to_load(&self) -> Vec<Vec<u8>> {
        let open = self.windows.iter().filter(|(_, loaded)| loaded.version == 0 && !loaded.changed);
        open.map(|(key, _)| key.clone()).collect()
    }

    /// Adds the requested windows that the store has.
    pub(crate) fn add_windows(&mut self, found: Vec<DedupRow>) {
        for row in found {
            let window =
                LoadedWindow { version: row.version, window: DedupWindow::from_bytes(row.bytes), changed: false };
            self.windows.insert(row.key, window);
        }
    }

    /// The window of a key with the changes of this batch.
    pub(crate) fn window(&self, key: &[u8]) -> Option<Result<&DedupWindow, UnreadableWindow>> {
        self.windows.get(key).map(|loaded| loaded.window.as_ref().map_err(|unreadable| *unreadable))
    }

    /// The window of a key, for a change; it was loaded with the batch. `None` for an unreadable window, which stays in the store
    /// unchanged.
    pub(crate) fn window_mut(&mut self, key: &[u8]) -> Option<&mut DedupWindow> {
        let known = self.windows.get_index_of(key);
        let place = known.unwrap_or_else(|| self.windows.insert_full(key.to_vec(), LoadedWindow::default()).0);
        let loaded = &mut self.windows[place];
        let window = loaded.window.as_mut().ok()?;
        loaded.changed = true;
        Some(window)
    }

    /// Takes the changed windows, sorted by key: all writers use one order.
    pub(crate) fn take_changed_windows(&mut self) -> Vec<DedupRow> {
        let mut rows: Vec<DedupRow> = std::mem::take(&mut self.windows)
            .into_iter()
            .filter(|(_, loaded)| loaded.changed)
            .filter_map(|(key, loaded)| {
                Some(DedupRow { key, version: loaded.version, bytes: loaded.window.ok()?.into_bytes() })
            })
            .collect();
        rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}
