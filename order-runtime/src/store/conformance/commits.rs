//! Commits: fencing, conflicts, and the independence of partitions.

use std::sync::Arc;

use super::fixture::{begun, commit, counter_change, counters, numbers, outbox, partition, place, step, waiting};
use crate::{
    model::{HeaderBlock, OutgoingRecord},
    store::{Committed, DeadLetterRow, Load, OutboxRecord, Store},
};

pub(super) async fn a_moved_revision_fences(store: impl Store) {
    let known = begun(&store, 0).await;
    let mut in_place = step(&known, 0, 0);
    in_place.to = 0;
    assert_eq!(commit(&store, in_place).await, Committed::Applied { revision: 1 });

    let stale = step(&known, 0, 0).writing(vec![counter_change("a", 1, 0)]);
    assert_eq!(commit(&store, stale).await, Committed::Fenced, "the offset fits, the revision does not");
    assert_eq!(place(&store, &known).await, (0, 1));
    assert_eq!(numbers(&store, &["a"]).await, []);
}

pub(super) async fn a_moved_offset_fences(store: impl Store) {
    let known = begun(&store, 0).await;
    let ahead = step(&known, 5, 0).window("k", 0, b"r");
    assert_eq!(commit(&store, ahead).await, Committed::Fenced, "the revision fits, the offset does not");
    assert_eq!(place(&store, &known).await, (0, 0));
    assert_eq!(store.window(b"k".to_vec()).await.expect("an answer"), None);
}

pub(super) async fn an_unknown_partition_fences(store: impl Store) {
    assert_eq!(commit(&store, step(&partition(0), 0, 0)).await, Committed::Fenced);
    assert_eq!(store.positions().await.expect("positions"), []);
}

pub(super) async fn a_conflict_leaves_other_partitions_committed(store: impl Store) {
    let mut partitions = Vec::new();
    for number in 0..4 {
        partitions.push(begun(&store, number).await);
    }
    let answers = store
        .commit(vec![
            Arc::new(step(&partitions[0], 0, 0).writing(vec![counter_change("a", 1, 0)])),
            Arc::new(step(&partitions[1], 0, 0).writing(vec![counter_change("b", 1, 7)])),
            Arc::new(step(&partitions[2], 9, 0).writing(vec![counter_change("c", 1, 0)])),
            Arc::new(step(&partitions[3], 0, 0).writing(vec![counter_change("d", 1, 0)])),
        ])
        .await
        .expect("a commit");
    let applied = Committed::Applied { revision: 1 };
    assert_eq!(answers, [applied.clone(), Committed::Conflict, Committed::Fenced, applied]);
    assert_eq!(numbers(&store, &["a", "b", "c", "d"]).await, [("a".into(), 1), ("d".into(), 1)]);
    for (partition, expected) in partitions.iter().zip([(1, 1), (0, 0), (0, 0), (1, 1)]) {
        assert_eq!(place(&store, partition).await, expected, "{partition}");
    }
}

pub(super) async fn a_conflict_undoes_all_of_its_partition(store: impl Store) {
    let known = begun(&store, 0).await;
    let mut changes = step(&known, 0, 0).writing(vec![counter_change("a", 1, 0)]).window("k", 0, b"r");
    changes.waiting = vec![waiting(0)];
    changes.outbox = vec![OutboxRecord { source_offset: 0, record: record("x").into() }];
    changes.dead_letters = vec![letter(13, 0).into()];
    changes.released = vec![77];
    assert_eq!(commit(&store, changes).await, Committed::Conflict);

    assert_eq!(place(&store, &known).await, (0, 0));
    assert_eq!(numbers(&store, &["a"]).await, []);
    assert_eq!(store.window(b"k".to_vec()).await.expect("an answer"), None);
    assert_eq!(store.waiting(10).await.expect("rows"), []);
    assert_eq!(outbox(&store, 0, 10).await, []);
    let wanted = Load { dead_letters: vec![13.into()], ..Load::default() };
    assert_eq!(store.load(wanted).await.expect("rows").dead_letters, []);
}

pub(super) async fn later_partitions_see_what_earlier_ones_wrote(store: impl Store) {
    let first = begun(&store, 0).await;
    let second = begun(&store, 1).await;
    let answers = store
        .commit(vec![
            Arc::new(step(&first, 0, 0).writing(vec![counter_change("a", 1, 0)])),
            Arc::new(step(&second, 0, 0).writing(vec![counter_change("a", 2, 0)])),
        ])
        .await
        .expect("a commit");
    assert_eq!(answers, [Committed::Applied { revision: 1 }, Committed::Conflict]);
    assert_eq!(numbers(&store, &["a"]).await, [("a".into(), 1)]);
}

pub(super) async fn an_entity_with_another_version_is_a_conflict(store: impl Store) {
    let known = begun(&store, 0).await;
    commit(&store, step(&known, 0, 0).writing(vec![counter_change("a", 1, 0)])).await;
    for (id, expected) in [("a", 0), ("a", 2), ("b", 1)] {
        let changes = step(&known, 1, 1).writing(vec![counter_change("fine", 1, 0), counter_change(id, 5, expected)]);
        assert_eq!(commit(&store, changes).await, Committed::Conflict, "{id} at version {expected}");
    }
    assert_eq!(numbers(&store, &["a", "b", "fine"]).await, [("a".into(), 1)]);
    let next = step(&known, 1, 1).writing(vec![counter_change("a", 2, 1)]);
    assert_eq!(commit(&store, next).await, Committed::Applied { revision: 2 });
    assert_eq!(counters(&store, &["a"]).await[0].version, 2);
}

pub(super) async fn an_entity_read_with_another_version_is_a_conflict(store: impl Store) {
    let known = begun(&store, 0).await;
    commit(&store, step(&known, 0, 0).writing(vec![counter_change("a", 1, 0)])).await;
    for (id, version) in [("a", 0), ("a", 2), ("absent", 1)] {
        let changes = step(&known, 1, 1).reading(id, version);
        assert_eq!(commit(&store, changes).await, Committed::Conflict, "{id} at version {version}");
    }
    let changes = step(&known, 1, 1).reading("a", 1).reading("absent", 0);
    assert_eq!(commit(&store, changes).await, Committed::Applied { revision: 2 });
}

pub(super) async fn a_window_with_another_version_is_a_conflict(store: impl Store) {
    let known = begun(&store, 0).await;
    commit(&store, step(&known, 0, 0).window("k", 0, b"first")).await;
    for (key, version) in [("k", 0), ("k", 2), ("absent", 1)] {
        let changes = step(&known, 1, 1).window(key, version, b"lost");
        assert_eq!(commit(&store, changes).await, Committed::Conflict, "{key} at version {version}");
    }
    assert_eq!(commit(&store, step(&known, 1, 1).window("k", 1, b"second")).await, Committed::Applied { revision: 2 });
    assert_eq!(store.window(b"k".to_vec()).await.expect("an answer"), Some(b"second".to_vec()));
}

pub(super) async fn of_concurrent_commits_from_one_position_one_wins(store: impl Store) {
    let store = Arc::new(store);
    let known = begun(store.as_ref(), 0).await;
    let racers: Vec<_> = (0..16)
        .map(|racer| {
            let (store, known) = (Arc::clone(&store), known.clone());
            let change = counter_change(&format!("racer-{racer}"), racer, 0);
            tokio::spawn(async move { commit(store.as_ref(), step(&known, 0, 0).writing(vec![change])).await })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        match racer.await.expect("a racer that ends") {
            Committed::Applied { .. } => won += 1,
            other => assert_eq!(other, Committed::Fenced),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(place(store.as_ref(), &known).await, (1, 1));
}

pub(super) async fn concurrent_commits_of_different_partitions_all_count(store: impl Store) {
    let store = Arc::new(store);
    let mut owners = Vec::new();
    for number in 0..4 {
        let (store, known) = (Arc::clone(&store), begun(store.as_ref(), number).await);
        owners.push(tokio::spawn(async move {
            for offset in 0..20 {
                let version = u64::try_from(offset).expect("not negative");
                let change = counter_change(&format!("of-{number}"), offset, version);
                let changes = step(&known, offset, offset).writing(vec![change]);
                assert_eq!(commit(store.as_ref(), changes).await, Committed::Applied { revision: offset + 1 });
            }
        }));
    }
    for owner in owners {
        owner.await.expect("an owner that ends");
    }
    let positions = store.positions().await.expect("positions");
    assert_eq!(positions.iter().map(|(_, offset)| *offset).collect::<Vec<_>>(), [20; 4]);
}

fn record(topic: &str) -> OutgoingRecord {
    OutgoingRecord {
        topic: topic.into(),
        partition: None,
        key: None,
        payload: None,
        headers: HeaderBlock::default(),
        timestamp: None,
    }
}

fn letter(id: u128, replays: u32) -> DeadLetterRow {
    DeadLetterRow {
        dlq_id: id.into(),
        event_id: "e".into(),
        hash: 1,
        replays,
        reason: "rejected".into(),
        code: "c".into(),
        at: super::fixture::at(1),
    }
}
