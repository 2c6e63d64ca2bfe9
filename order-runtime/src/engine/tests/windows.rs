//! Deduplication windows that cannot be read: the handled events of the key are unknown, so no event of the key may run.

use std::sync::Arc;

use super::rig::{Rig, header, partition};
use crate::{
    engine::partition::release::{KeySelection, Release},
    identity::{DedupWindow, window_key_of},
    store::{Changes, DedupRow, PartitionStore, WaitingState, memory::MemoryStore},
};

/// An engine whose store has this window for the key `a`.
async fn with_window(bytes: &[u8]) -> Rig {
    let store = MemoryStore::default();
    store.begin(&partition(), 0).await.expect("a first position");
    let mut changes = Changes::of_position(partition(), 0, 0, 0);
    changes.windows = vec![DedupRow { key: window_key_of(b"a"), version: 0, bytes: bytes.to_vec() }];
    store.commit(vec![Arc::new(changes)]).await.expect("a window");
    let rig = Rig::start_on(Arc::new(store)).await;
    rig.broker.assign(&[partition()]).await;
    rig
}

async fn the_key_waits(bytes: &[u8], why: &str) {
    let rig = with_window(bytes).await;
    rig.send("Added", "a", 1, "");
    rig.send("Added", "a", 2, "");
    rig.send("Added", "b", 3, "");
    rig.until("the key waits", |rig| rig.engine.operations().partitions()[0].waiting_events == 2).await;
    assert_eq!(rig.counter("b").await, Some((3, 1)), "other keys go on");
    assert_eq!(rig.counter("a").await, None);
    let waiting = rig.store.waiting(9).await.expect("rows");
    let (_, first) = &waiting[0];
    assert!(matches!(first.state, WaitingState::Held(_)), "{first:?}");
    assert_eq!(first.error_code, "identity_unreadable");
    assert!(first.error_message.contains(why), "{}", first.error_message);

    let key = || KeySelection { key: Some("a".into()), ..KeySelection::default() };
    assert_eq!(rig.engine.operations().release(key(), Release::Retry).await, 1);
    assert_eq!(rig.engine.operations().release(key(), Release::DeadLetter).await, 1);
    let letter = rig.dead_letters(1).await.remove(0);
    assert_eq!(header(&letter, "dlq-error-code"), "identity_unreadable");
    rig.until("the next event waits", |rig| rig.engine.operations().partitions()[0].waiting_events == 1).await;
    let window = rig.store.window(window_key_of(b"a")).await.expect("an answer");
    assert_eq!(window.as_deref(), Some(bytes), "it is unchanged for a release that can read it");
    assert_eq!(rig.counter("a").await, None);
}

#[tokio::test]
async fn events_wait_if_a_newer_release_wrote_the_window_of_their_key() {
    the_key_waits(&[9, 1, 2, 3], "a newer release").await;
}

#[tokio::test]
async fn events_wait_if_the_window_of_their_key_is_damaged() {
    let mut window = DedupWindow::default();
    window.push(&crate::identity::DedupEntry {
        id: "event-1".into(),
        print: crate::identity::Fingerprint::Content { source: 0, content: 7 },
        outcome: crate::identity::EventOutcome::Handled,
        name: "Added",
        at: jiff::Timestamp::UNIX_EPOCH,
    });
    let bytes = window.as_bytes();
    the_key_waits(&bytes[..bytes.len() - 1], "damaged").await;
}
