//! Entities, deduplication windows, the outbox and dead letters, as they are read back.

use super::fixture::{at, begun, commit, counter_change, counter_row, counters, entity, noise, outbox, step};
use crate::{
    identity::window_key_of,
    model::{HeaderBlock, OutgoingRecord},
    store::{Committed, DeadLetterRow, DedupRow, Load, OutboxRecord, Page, Store},
};

pub(super) async fn entities_are_loaded_with_their_versions(store: impl Store) {
    let known = begun(&store, 0).await;
    commit(&store, step(&known, 0, 0).writing(vec![counter_change("a", 1, 0), counter_change("b", 2, 0)])).await;
    commit(&store, step(&known, 1, 1).writing(vec![counter_change("b", 3, 1)])).await;

    let loaded = counters(&store, &["b", "absent", "a"]).await;
    assert_eq!(loaded, [counter_row("a", 1, 0), counter_row("b", 3, 1)]);
}

pub(super) async fn a_view_has_the_fields_of_the_runtime(store: impl Store) {
    let known = begun(&store, 0).await;
    commit(&store, step(&known, 0, 0).writing(vec![counter_change("a", 3, 0)])).await;

    let view = store.view(entity(), "a").await.expect("an answer").expect("a view");
    assert_eq!(
        view,
        serde_json::json!({
            "id": "a", "status": "odd", "n": 3, "version": 1,
            "createdAt": "1970-01-01T00:00:01Z", "updatedAt": "1970-01-01T00:00:03Z",
        })
    );
    assert_eq!(store.view(entity(), "absent").await.expect("an answer"), None);
}

async fn ids(store: &impl Store, page: Page) -> Vec<String> {
    let views = store.page(entity(), page).await.expect("a page");
    let id = |view: &serde_json::Value| view["id"].as_str().map(ToOwned::to_owned);
    assert!(views.iter().all(|listed| id(&listed.view).as_ref() == Some(&listed.id)), "{views:?}");
    views.into_iter().map(|listed| listed.id).collect()
}

pub(super) async fn pages_follow_each_other_in_the_order_of_ids(store: impl Store) {
    let known = begun(&store, 0).await;
    let changes = ["c", "a", "e", "b", "d"].map(|id| counter_change(id, 1, 0));
    commit(&store, step(&known, 0, 0).writing(changes.to_vec())).await;

    let page = |after: Option<&str>| Page { limit: 2, after: after.map(Into::into), filters: Vec::new() };
    assert_eq!(ids(&store, page(None)).await, ["a", "b"]);
    assert_eq!(ids(&store, page(Some("b"))).await, ["c", "d"]);
    assert_eq!(ids(&store, page(Some("d"))).await, ["e"]);
    assert_eq!(ids(&store, page(Some("bb"))).await, ["c", "d"], "the id itself need not exist");
    assert!(ids(&store, page(Some("e"))).await.is_empty());
}

pub(super) async fn pages_are_filtered(store: impl Store) {
    let known = begun(&store, 0).await;
    let changes = (0..6).map(|n| counter_change(&format!("c{n}"), n, 0));
    commit(&store, step(&known, 0, 0).writing(changes.collect())).await;

    let filters = vec![("status".to_owned(), "even".to_owned())];
    let even = Page { limit: 2, after: Some("c0".into()), filters };
    assert_eq!(ids(&store, even).await, ["c2", "c4"]);
}

pub(super) async fn windows_are_loaded_by_key(store: impl Store) {
    let known = begun(&store, 0).await;
    commit(&store, step(&known, 0, 0).window("a", 0, b"one").window("b", 0, b"")).await;
    commit(&store, step(&known, 1, 1).window("a", 1, b"two")).await;

    let wanted = Load { windows: vec![b"b".to_vec(), b"absent".to_vec(), b"a".to_vec()], ..Load::default() };
    let mut windows = store.load(wanted).await.expect("windows").windows;
    windows.sort_by(|a, b| a.key.cmp(&b.key));
    let expected = [("a", 2, &b"two"[..]), ("b", 1, b"")];
    assert_eq!(
        windows,
        expected.map(|(key, version, bytes)| DedupRow { key: key.into(), version, bytes: bytes.to_vec() })
    );
    assert_eq!(store.window(b"a".to_vec()).await.expect("an answer"), Some(b"two".to_vec()));
}

/// A broker accepts keys of a megabyte; the index of a store does not.
pub(super) async fn windows_of_keys_of_any_length_are_kept(store: impl Store) {
    let known = begun(&store, 0).await;
    for (offset, length) in (0..).zip([0, 1_000, 1_024, 1_025, 2_700, 10_000, 1_000_000]) {
        let key = window_key_of(&noise(length));
        let mut changes = step(&known, offset, offset);
        changes.windows.push(DedupRow { key: key.clone(), version: 0, bytes: b"r".to_vec() });
        assert_eq!(commit(&store, changes).await, Committed::Applied { revision: offset + 1 }, "{length} bytes");
        assert_eq!(store.window(key).await.expect("an answer"), Some(b"r".to_vec()), "{length} bytes");
    }
}

fn record(payload: &str) -> OutgoingRecord {
    OutgoingRecord {
        topic: "out".into(),
        partition: Some(3),
        key: Some(b"\xffkey".to_vec().into()),
        payload: Some(payload.to_owned().into()),
        headers: vec![(&b"name"[..], Some(&b"v\x00"[..])), (b"\xfe", None), (b"name", Some(b""))].into(),
        timestamp: Some(1_700_000_000_000),
    }
}

pub(super) async fn the_outbox_keeps_order_until_published(store: impl Store) {
    let known = begun(&store, 0).await;
    let bare = OutgoingRecord {
        partition: None,
        key: None,
        payload: None,
        headers: HeaderBlock::default(),
        timestamp: None,
        ..record("")
    };
    let sent = [record("one"), bare, record("three")];
    let mut changes = step(&known, 0, 0);
    changes.outbox =
        sent.iter().map(|record| OutboxRecord { source_offset: 0, record: record.clone().into() }).collect();
    commit(&store, changes).await;

    let rows = outbox(&store, 0, 10).await;
    assert_eq!(rows.iter().map(|row| OutgoingRecord::clone(&row.record)).collect::<Vec<_>>(), sent);
    assert_eq!(outbox(&store, 0, 2).await, rows[..2]);
    assert_eq!(outbox(&store, rows[0].id, 10).await, rows[1..]);

    store.published(vec![rows[1].id]).await.expect("deleted");
    store.published(vec![rows[1].id, rows[0].id]).await.expect("removed rows are ignored");
    assert_eq!(outbox(&store, 0, 10).await, rows[2..]);
}

pub(super) async fn outbox_numbers_are_never_used_again(store: impl Store) {
    let known = begun(&store, 0).await;
    let mut last = 0;
    for offset in 0..3 {
        let mut changes = step(&known, offset, offset);
        changes.outbox = vec![OutboxRecord { source_offset: offset, record: record("x").into() }];
        commit(&store, changes).await;
        let rows = outbox(&store, last, 10).await;
        assert_eq!(rows.len(), 1, "the new row comes after the published ones");
        last = rows[0].id;
        store.published(vec![last]).await.expect("deleted");
    }
}

pub(super) async fn dead_letters_are_remembered(store: impl Store) {
    let known = begun(&store, 0).await;
    let letter = |id: u128, replays| DeadLetterRow {
        dlq_id: id.into(),
        event_id: "event".into(),
        hash: u128::MAX - 1,
        replays,
        reason: "rejected".into(),
        code: "too_late".into(),
        at: at(1_700_000_000),
    };
    let mut changes = step(&known, 0, 0);
    changes.dead_letters = vec![letter(1, 0).into(), letter(2, 0).into()];
    commit(&store, changes).await;
    let mut changes = step(&known, 1, 1);
    changes.dead_letters = vec![letter(1, 1).into()];
    commit(&store, changes).await;

    let wanted = Load { dead_letters: vec![1.into(), 3.into(), 2.into()], ..Load::default() };
    let mut found = store.load(wanted).await.expect("rows").dead_letters;
    found.sort_by_key(|letter| letter.dlq_id);
    assert_eq!(found, [letter(1, 1), letter(2, 0)]);
}

pub(super) async fn old_windows_and_dead_letters_are_forgotten(store: impl Store) {
    let known = begun(&store, 0).await;
    let letter = |id: u128, second| DeadLetterRow {
        dlq_id: id.into(),
        event_id: "event".into(),
        hash: 1,
        replays: 0,
        reason: "rejected".into(),
        code: "c".into(),
        at: at(second),
    };
    let mut changes = step(&known, 0, 0).window("k", 0, b"r");
    changes.dead_letters = vec![letter(1, 1_700_000_000).into(), letter(2, 1_800_000_000).into()];
    commit(&store, changes).await;

    assert_eq!(store.forget(at(1_750_000_000), Vec::new()).await.expect("an answer"), None);
    assert_eq!(store.window(b"k".to_vec()).await.expect("an answer"), Some(b"r".to_vec()), "it was written just now");
    let wanted = Load { dead_letters: vec![1.into(), 2.into()], ..Load::default() };
    assert_eq!(store.load(wanted).await.expect("rows").dead_letters, [letter(2, 1_800_000_000)]);
    let next_year = jiff::Timestamp::now() + std::time::Duration::from_hours(24 * 365);
    store.forget(next_year, Vec::new()).await.expect("an answer");
    assert_eq!(store.window(b"k".to_vec()).await.expect("an answer"), None);
    let again = step(&known, 1, 1).window("k", 0, b"again");
    assert_eq!(commit(&store, again).await, Committed::Applied { revision: 2 });
}
