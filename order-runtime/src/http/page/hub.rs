//! Reads the service's state once a second for all pages.
//!
//! A point of the curves costs a few atomic reads and is always taken, so that a page that is opened after an incident shows how
//! it started. The rest is read, compared and written as JSON only while a page is open.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast},
    time::{MissedTickBehavior, interval},
};

use super::{
    history::{History, Reading},
    snapshot::{Greeting, Snapshot, Tick, frame},
};
use crate::{
    http::{AppState, HttpParts, admin::Access},
    registry::ProcessorView,
};

/// Interval of updates.
const PERIOD: Duration = Duration::from_secs(1);
/// Maximum number of open pages; each uses one of the service's connections.
pub(super) const PAGES: usize = 64;
/// Additional pages for clients with a role, so that anonymous clients cannot keep an operator out.
pub(super) const PAGES_OF_KNOWN: usize = 16;
/// Maximum number of updates that a page may be behind. A slower page gets a new greeting instead of the missed updates.
const BEHIND: usize = 4;

/// Sends updates to all open pages.
pub(in crate::http) struct Hub {
    seen: Mutex<Seen>,
    ticks: broadcast::Sender<Bytes>,
    places: Arc<Semaphore>,
    places_of_known: Arc<Semaphore>,
}

#[derive(Default)]
struct Seen {
    history: History,
    /// The last snapshot sent to the open pages; `None` without open pages.
    reported: Option<Snapshot>,
}

impl Default for Hub {
    fn default() -> Self {
        let (ticks, _) = broadcast::channel(BEHIND);
        let [places, places_of_known] = [PAGES, PAGES_OF_KNOWN].map(|places| Arc::new(Semaphore::new(places)));
        Self { seen: Mutex::default(), ticks, places, places_of_known }
    }
}

impl Hub {
    /// Makes an update every second, until the shared state is dropped.
    pub(in crate::http) async fn watch(shared: Weak<AppState>) {
        let mut seconds = interval(PERIOD);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            seconds.tick().await;
            let Some(shared) = shared.upgrade() else { return };
            shared.hub.second(&shared.parts);
        }
    }

    fn second(&self, parts: &HttpParts) {
        let stats = parts.operations.stats();
        let mut seen = self.seen.lock();
        let point = seen.history.add(&Reading { at: Timestamp::now(), stats, ages: parts.sources.metrics.ages() });
        if self.ticks.receiver_count() == 0 {
            seen.reported = None;
            return;
        }
        let Some(point) = point else { return };
        let now = Snapshot::of(parts, stats);
        let tick = frame("tick", &Tick { point, changes: now.since(seen.reported.as_ref()) });
        seen.reported = Some(now);
        if let Some(tick) = tick {
            // The last page may have closed meanwhile.
            let _ = self.ticks.send(tick);
        }
    }

    /// The greeting of a new page, and the receiver of all later updates, without a gap.
    pub(super) fn greet(&self, parts: &HttpParts, access: Access) -> (Option<Bytes>, broadcast::Receiver<Bytes>) {
        let mut seen = self.seen.lock();
        let Seen { history, reported } = &mut *seen;
        // An existing snapshot is reused: the next update has the changes since it, for all pages.
        let reported = reported.get_or_insert_with(|| Snapshot::of(parts, parts.operations.stats()));
        let greeting = Greeting {
            version: parts.dispatcher.version,
            access,
            embedded_broker: parts.embedded_broker,
            declared: parts.registry.processors().iter().map(|entry| ProcessorView::of(entry)).collect(),
            history: history.points(),
            changes: reported.since(None),
        };
        (frame("hello", &greeting), self.ticks.subscribe())
    }

    /// A place for one more page; `None` if the maximum is open. `is_known` means that the client has a role.
    pub(super) fn place(&self, is_known: bool) -> Option<OwnedSemaphorePermit> {
        let own = is_known.then(|| Arc::clone(&self.places_of_known).try_acquire_owned().ok()).flatten();
        own.or_else(|| Arc::clone(&self.places).try_acquire_owned().ok())
    }
}
