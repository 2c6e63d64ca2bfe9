//! What one batch of one partition will change once it is committed.

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
    /// The windows that the store was asked for, also those that it does not have.
    windows: IndexMap<Vec<u8>, LoadedWindow, RandomState>,
    /// Rows to write, by offset.
    pub(crate) waiting: BTreeMap<i64, WaitingRow>,
    /// Waiting rows that are settled, by offset, with their queues.
    pub(crate) released: BTreeMap<i64, QueueId>,
    pub(crate) outbox: Vec<OutboxRecord>,
    pub(crate) dead_letters: Vec<Arc<DeadLetterRow>>,
    /// Dead letters that were loaded because a record says that it is a replay of one.
    pub(crate) known_dead_letters: HashMap<DeadLetterId, DeadLetterRow, RandomState>,
    pub(crate) counters: BatchCounters,
    /// Spans that are exported once it is committed; none where no traces are.
    pub(crate) spans: Vec<SpanData>,
    /// How long its attempts took.
    pub(crate) timing: Timing,
    /// What the circuit breakers are told.
    pub(crate) trials: Trials,
    /// Queues that are due and may not be tried yet, and for how long.
    pub(crate) postponed: Vec<(QueueId, Duration)>,
    /// Events that the log tells of.
    pub(crate) notables: Notables,
    /// Bytes of the records that the batch took.
    pub(crate) bytes: usize,
    /// The events that all this comes from.
    pub(crate) events: Events,
    /// Its event was dead-lettered without being run.
    pub(crate) is_forced: bool,
    /// Attempts of earlier batches that have ended while an event ran alone; they are settled by themselves.
    pub(crate) ended_meanwhile: Vec<Finished>,
}

/// The events that a batch has touched, counted; one that is touched again by the next step counts once.
#[derive(Debug, Default)]
pub(crate) struct Events {
    count: usize,
    last: i64,
}

impl Events {
    /// The event at this offset adds to the effects from now on.
    pub(crate) fn touch(&mut self, offset: i64) {
        if self.count == 0 || self.last != offset {
            self.count += 1;
            self.last = offset;
        }
    }

    /// How many there are, at least.
    pub(crate) fn count(&self) -> usize {
        self.count.max(1)
    }

    /// The offset of the one event, where there is only one.
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
    /// Whether there is nothing that the store would have to keep.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
            && self.released.is_empty()
            && self.outbox.is_empty()
            && self.dead_letters.is_empty()
            && self.windows.values().all(|loaded| !loaded.changed)
    }

    /// Notes that the window of this key is needed; true where the store is still to be asked for it.
    pub(crate) fn wants_window(&mut self, key: &[u8]) -> bool {
        if self.windows.contains_key(key) {
            return false;
        }
        self.windows.insert(key.to_vec(), LoadedWindow::default());
        true
    }

    /// The windows that the store was asked for and has not answered, as far as that is known.
    pub(crate) fn windows_to_load(&self) -> Vec<Vec<u8>> {
        let open = self.windows.iter().filter(|(_, loaded)| loaded.version == 0 && !loaded.changed);
        open.map(|(key, _)| key.clone()).collect()
    }

    /// Takes in the windows that were found of those that were asked for.
    pub(crate) fn add_windows(&mut self, found: Vec<DedupRow>) {
        for row in found {
            let window =
                LoadedWindow { version: row.version, window: DedupWindow::from_bytes(row.bytes), changed: false };
            self.windows.insert(row.key, window);
        }
    }

    /// The window of a key, as the events of this batch see it.
    pub(crate) fn window(&self, key: &[u8]) -> Option<Result<&DedupWindow, UnreadableWindow>> {
        self.windows.get(key).map(|loaded| loaded.window.as_ref().map_err(|unreadable| *unreadable))
    }

    /// The window of a key, to be changed; it was loaded with the batch. One that cannot be read stays in the store as it is.
    pub(crate) fn window_mut(&mut self, key: &[u8]) -> Option<&mut DedupWindow> {
        let known = self.windows.get_index_of(key);
        let place = known.unwrap_or_else(|| self.windows.insert_full(key.to_vec(), LoadedWindow::default()).0);
        let loaded = &mut self.windows[place];
        let window = loaded.window.as_mut().ok()?;
        loaded.changed = true;
        Some(window)
    }

    /// Takes the windows to write, in one order for all writers.
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
