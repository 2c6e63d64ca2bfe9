//! An engine that goes on where an earlier release has stopped.

use std::{sync::Arc, time::Duration};

use super::content::{LETTER, POSITION, added, live, unpublished};
use crate::{
    engine::{
        Settings,
        release::{KeySelection, Release},
        tests::rig::{Rig, settings},
    },
    model::DeadLetterId,
    store::Store,
};

/// Runs an engine on the store, and expects that what waited is handled, what counts already does not count again, and what was
/// not published is.
pub(super) async fn expect(store: Arc<dyn Store>) {
    // Longer than any fixture is old, so that nothing of it is forgotten.
    let retention = Duration::from_hours(24 * 365 * 100);
    let rig = Rig::start_with(store, Settings { retention, ..settings() }).await;
    rig.broker.leave_gap(&live(), POSITION);
    rig.broker.assign(&[live()]).await;
    let waiting = |rig: &Rig| rig.engine.operations().partitions()[0].waiting_events;
    rig.until("all but the held event is handled", |rig| waiting(rig) == 1).await;
    assert_eq!(rig.counter("late").await, Some((12, 2)), "in their order");
    assert_eq!(rig.counter("ran").await, Some((4, 1)));
    assert_eq!(rig.counter("held").await, None);

    let send =
        |key: &str, payload: &str, headers: &[(&str, &str)]| rig.broker.append(&live(), Some(key), payload, headers);
    send("a", &added("e-1", "a", 1), &[]);
    send("old", &added("e-0", "old", 5), &[]);
    send("d", &added("e-9", "d", 9), &[]);
    send("d", &added("e-9", "d", 9), &[("dlq-id", &DeadLetterId::from(LETTER).digits())]);
    send("a", &added("e-20", "a", 7), &[]);
    rig.until("the records are handled", |rig| {
        rig.engine.operations().partitions()[0].lag == Some(0) && waiting(rig) == 1
    })
    .await;
    assert_eq!(rig.counter("a").await, Some((17, 2)), "a repeat does not count, a new event does");
    assert_eq!(rig.counter("old").await, None, "nor does a repeat in the first layout of windows");
    assert_eq!(rig.counter("d").await, Some((9, 1)), "a dead letter counts once it is replayed, and not before");
    assert_eq!(rig.counter("b").await, Some((5, 2)));
    assert_eq!(rig.stats().skipped, 3);

    let held = KeySelection { key: Some("held".into()), ..KeySelection::default() };
    assert_eq!(rig.engine.operations().release(held, Release::Retry).await, 1);
    rig.settled().await;
    assert_eq!(rig.counter("held").await, Some((3, 1)));
    rig.until("the outbox is published", |rig| rig.broker.published().len() >= 2).await;
    assert_eq!(rig.broker.published(), unpublished(), "and there are no dead letters");
}
