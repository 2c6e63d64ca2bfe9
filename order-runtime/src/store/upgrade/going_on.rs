//! An engine that continues with the store of an earlier release.

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

/// Runs an engine on the store. Expects that waiting events are handled, that settled events are not applied again, and that
/// unpublished records are published.
pub(super) async fn expect(store: Arc<dyn Store>) {
    // Longer than the age of any fixture, so that no row of it expires.
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
    assert_eq!(rig.counter("a").await, Some((17, 2)), "a duplicate is not applied, a new event is");
    assert_eq!(rig.counter("old").await, None, "a duplicate in a window of the first layout is not applied");
    assert_eq!(rig.counter("d").await, Some((9, 1)), "a dead-lettered event is applied only by its replay");
    assert_eq!(rig.counter("b").await, Some((5, 2)));
    assert_eq!(rig.stats().skipped, 3);

    let held = KeySelection { key: Some("held".into()), ..KeySelection::default() };
    assert_eq!(rig.engine.operations().release(held, Release::Retry).await, 1);
    rig.settled().await;
    assert_eq!(rig.counter("held").await, Some((3, 1)));
    rig.until("the outbox is published", |rig| rig.broker.published().len() >= 2).await;
    assert_eq!(rig.broker.published(), unpublished(), "and there are no dead letters");
}
