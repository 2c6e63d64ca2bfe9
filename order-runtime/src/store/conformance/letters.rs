//! Marks on dead letters, and the audit of operators' actions.

use uuid::Uuid;

use super::fixture::at;
use crate::store::{AuditRow, LetterMark, MarkState, Store};

fn mark(id: &str, replays: u32, state: MarkState) -> LetterMark {
    let (note, by) = ("a \0 note".into(), "cli:somebody".into());
    LetterMark { dlq_id: id.into(), replays, state, note, by, at: at(1_700_000_000) }
}

fn entry(number: u128, letters: u64) -> AuditRow {
    AuditRow {
        id: Uuid::from_u128(number),
        at: at(1_700_000_000 + i64::try_from(number).expect("a small number")),
        by: "token@192.0.2.1".into(),
        action: "replay".into(),
        letters,
        selection: r#"{"reason":"re\u0000jected"}"#.into(),
    }
}

async fn marks(store: &impl Store, ids: &[&str]) -> Vec<LetterMark> {
    let wanted = ids.iter().map(|id| (*id).to_owned()).collect();
    let mut found = store.marks(wanted).await.expect("a readable store");
    found.sort_by(|a, b| (&a.dlq_id, a.replays).cmp(&(&b.dlq_id, b.replays)));
    found
}

pub(super) async fn letters_are_marked_by_id_and_replays(store: impl Store) {
    assert_eq!(marks(&store, &["a"]).await, []);
    let first = [mark("a", 0, MarkState::Replayed), mark("a", 1, MarkState::Parked), mark("b", 0, MarkState::Purged)];
    store.mark(entry(1, 3), first.to_vec()).await.expect("marked");
    assert_eq!(marks(&store, &["a", "absent", "b"]).await, first);
    assert_eq!(marks(&store, &["b"]).await, first[2..]);

    let again = [mark("a", 0, MarkState::Purged), mark("a", 1, MarkState::Open), mark("c", 0, MarkState::Open)];
    store.mark(entry(2, 2), again.to_vec()).await.expect("marked");
    assert_eq!(marks(&store, &["a", "b", "c"]).await, [again[0].clone(), first[2].clone()]);
}

pub(super) async fn an_action_that_continues_is_one_record(store: impl Store) {
    store.mark(entry(1, 0), Vec::new()).await.expect("an action that has begun");
    store.mark(entry(2, 1), vec![mark("a", 0, MarkState::Parked)]).await.expect("another");
    for letters in [500, 7] {
        store.mark(entry(1, letters), Vec::new()).await.expect("the action continues");
    }
    assert_eq!(store.audit(10).await.expect("a readable store"), [entry(2, 1), entry(1, 507)]);
    assert_eq!(store.audit(1).await.expect("a readable store"), [entry(2, 1)]);
}

pub(super) async fn old_marks_and_records_are_forgotten(store: impl Store) {
    let late = LetterMark { at: at(1_800_000_000), ..mark("b", 0, MarkState::Parked) };
    let late_entry = AuditRow { at: at(1_800_000_000), ..entry(2, 1) };
    store.mark(entry(1, 1), vec![mark("a", 0, MarkState::Parked)]).await.expect("marked");
    store.mark(late_entry.clone(), vec![late.clone()]).await.expect("marked");
    store.forget(at(1_750_000_000), Vec::new()).await.expect("an answer");
    assert_eq!(marks(&store, &["a", "b"]).await, [late]);
    assert_eq!(store.audit(10).await.expect("a readable store"), [late_entry]);
}
