//! One look at the service a second, made once for all pages.
//!
//! The point of the curves is a handful of atomic reads and is always taken, so that a page which is opened after
//! something went wrong shows how it began. The rest is read, compared and written as JSON only while a page is open.

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

/// How often pages are told.
const PERIOD: Duration = Duration::from_secs(1);
/// Pages that may be open at once; each holds one of the service's connections.
pub(super) const PAGES: usize = 64;
/// Pages beside these for whoever has shown who they are, so that strangers cannot keep an operator out.
pub(super) const PAGES_OF_KNOWN: usize = 16;
/// Seconds that a page may be behind; one that is slower is greeted anew instead of getting what it has missed.
const BEHIND: usize = 4;

/// Tells all open pages.
pub(in crate::http) struct Hub {
    seen: Mutex<Seen>,
    ticks: broadcast::Sender<Bytes>,
    places: Arc<Semaphore>,
    places_of_known: Arc<Semaphore>,
}

#[derive(Default)]
struct Seen {
    history: History,
    /// What every open page knows; `None` while there is none.
    told: Option<Snapshot>,
}

impl Default for Hub {
    fn default() -> Self {
        let (ticks, _) = broadcast::channel(BEHIND);
        let [places, places_of_known] = [PAGES, PAGES_OF_KNOWN].map(|places| Arc::new(Semaphore::new(places)));
        Self { seen: Mutex::default(), ticks, places, places_of_known }
    }
}

impl Hub {
    /// Looks at the service every second, for as long as there is somebody to serve.
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
            seen.told = None;
            return;
        }
        let Some(point) = point else { return };
        let now = Snapshot::of(parts, stats);
        let tick = frame("tick", &Tick { point, changes: now.since(seen.told.as_ref()) });
        seen.told = Some(now);
        if let Some(tick) = tick {
            // The last page may have gone meanwhile.
            let _ = self.ticks.send(tick);
        }
    }

    /// What a page is told first, and whatever comes after that, with nothing between.
    pub(super) fn greet(&self, parts: &HttpParts, access: Access) -> (Option<Bytes>, broadcast::Receiver<Bytes>) {
        let mut seen = self.seen.lock();
        let Seen { history, told } = &mut *seen;
        // Others know this one, and what they hear next is what has changed since.
        let told = told.get_or_insert_with(|| Snapshot::of(parts, parts.operations.stats()));
        let greeting = Greeting {
            version: parts.dispatcher.version,
            access,
            embedded_broker: parts.embedded_broker,
            declared: parts.registry.processors().iter().map(|entry| ProcessorView::of(entry)).collect(),
            history: history.points(),
            changes: told.since(None),
        };
        (frame("hello", &greeting), self.ticks.subscribe())
    }

    /// A place for one more page; `None` where as many as may be are open. `is_known` where its reader has a role.
    pub(super) fn place(&self, is_known: bool) -> Option<OwnedSemaphorePermit> {
        let own = is_known.then(|| Arc::clone(&self.places_of_known).try_acquire_owned().ok()).flatten();
        own.or_else(|| Arc::clone(&self.places).try_acquire_owned().ok())
    }
}
