//! Look-ups that fail: rows that cannot be read, and entities that the program does not declare.

use std::{any::TypeId, collections::BTreeMap, sync::Arc};

use super::rig::{PLACE, POLICY, Rig, header, partition, processor};
use crate::{
    dispatch::{Injectable as _, WorkingSet},
    engine::observe::PartitionState,
    registry::{ContractEntry, ProcessorEntry, Registry},
    store::{
        EntityType, WaitingState,
        conformance::fixture::{Counter, sqlite},
    },
};

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_only_its_own_key_waiting() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let rig = Rig::start_on(Arc::new(sqlite(&path))).await;
    rig.broker.assign(&[partition()]).await;
    rig.send("Added", "bad", 1, "");
    rig.send("Added", "good", 1, "");
    rig.settled().await;
    let set_version = |version: i64| {
        let db = rusqlite::Connection::open(&path).expect("a second connection");
        db.execute("UPDATE counters SET version = ?1 WHERE id = 'bad'", [version]).expect("a row");
    };
    // A version is never negative, so every read of the row fails.
    set_version(-7);

    rig.send("Added", "bad", 2, "");
    rig.send("Added", "good", 2, "");
    rig.send("Added", "bad", 3, "");
    for number in 0..20 {
        rig.send("Added", &format!("new-{number}"), 1, "");
    }
    rig.until("the others are handled", |rig| rig.stats().ok == 2 + 21).await;
    // The event of the unreadable row is retried all the time and delays no other event.
    rig.send("Added", "good", 3, "dawdle");
    rig.until("the slow event is handled", |rig| rig.stats().ok == 2 + 22).await;
    assert_eq!(rig.counter("good").await, Some((123, 3)));
    let waiting = rig.store.waiting(10).await.expect("a readable store");
    let seen: Vec<_> = waiting.iter().map(|(_, row)| (row.state, row.attempts, &*row.error_code)).collect();
    assert_eq!(seen, [(WaitingState::Retry, 0, "row_unreadable"), (WaitingState::Behind, 0, "")]);
    assert!(waiting[0].1.error_message.contains("the Counter `bad` cannot be read"), "{}", waiting[0].1.error_message);
    let shown = rig.engine.operations().partitions().remove(0);
    assert_eq!((shown.state, rig.broker.published()), (PartitionState::Running, Vec::new()));

    set_version(1);
    rig.settled().await;
    assert_eq!(rig.counter("bad").await, Some((123, 3)), "in order, after the row is repaired");
    assert_eq!(rig.broker.published(), []);
}

#[tokio::test(start_paused = true)]
async fn an_entity_that_is_not_declared_fails_its_events_and_nothing_else() {
    let rig = Rig::start().await;
    for then in ["get", "put", "get_later"] {
        rig.send("Stray", then, 1, then);
    }
    rig.send("Added", "a", 1, "");
    rig.send("Added", "get", 2, "");
    rig.settled().await;
    let mut reported: Vec<_> = rig
        .dead_letters(3)
        .await
        .iter()
        .map(|letter| (header(letter, "dlq-error-code"), header(letter, "dlq-error-message")))
        .collect();
    reported.dedup();
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert_eq!(reported[0].0, "entity_not_declared");
    assert!(reported[0].1.contains("Stray") && reported[0].1.contains("#[entity(table"), "{}", reported[0].1);
    assert_eq!((rig.counter("a").await, rig.counter("get").await), (Some((1, 1)), Some((2, 1))));
}

#[test]
fn a_contract_with_an_entity_that_is_not_declared_is_an_error_at_the_start() {
    static PROCESSORS: [ProcessorEntry; 1] = [processor("Added", POLICY)];
    static CONTRACTS: [ContractEntry; 1] = [ContractEntry {
        feature: "Add",
        version: 0,
        name: "CONTRACT_HELPER_Add_V0",
        interface: || TypeId::of::<u8>(),
        build: &(),
        probe: |delivery| drop(WorkingSet::<Counter>::inject(delivery)),
        place: PLACE,
    }];
    let chosen = BTreeMap::new();
    let registry =
        Registry::from_entries(PROCESSORS.iter(), std::iter::empty(), CONTRACTS.iter(), std::iter::empty(), &chosen);
    let registry = Arc::new(registry.expect("nothing conflicts"));
    assert_eq!(registry.check_entities(&[EntityType::of::<Counter>()]), Ok(()));
    let error = registry.check_entities(&[]).expect_err("the entity is missing").to_string();
    for part in ["CONTRACT_HELPER_Add_V0 at rig.rs:1", "WorkingSet<Counter>", "write `#[entity(table = "] {
        assert!(error.contains(part), "{error}");
    }
}
