//! The content of the stores in `fixtures`: written by the generator, expected by the tests.
//!
//! Never change a value: a fixture keeps the values that an earlier release wrote, so the tests would fail.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    broker::memory::MemoryBroker,
    identity::{DedupEntry, DedupWindow, EventOutcome, Fingerprint, payload_hash, window_key_of},
    model::{HeaderBlock, OnExhausted, OutgoingRecord, PartitionId},
    store::{
        AuditRow, Changes, Committed, DeadLetterRow, DedupRow, LetterMark, Load, MarkState, OutboxRecord, Row, Store,
        StoreError, Suspect, WaitingRow, WaitingState,
        conformance::fixture::{self, Counter, at, commit, counter_change, counter_row},
    },
};

/// The consumer group that owns the stores.
pub(super) const GROUP: &str = "group";

/// The partition that an engine continues; its position is [`POSITION`].
pub(super) fn live() -> PartitionId {
    MemoryBroker::partition(0)
}

/// The position of [`live`].
pub(super) const POSITION: i64 = 20;

/// A partition with waiting events of every state and bytes of every kind, whose owner has died several times.
pub(super) fn hurt() -> PartitionId {
    MemoryBroker::partition(1)
}

/// The offset at which the owner of [`hurt`] ran one event alone, twice.
pub(super) const SUSPECT: i64 = 9;

/// The payload of an event that adds a digit to the counter of its key.
pub(super) fn added(id: &str, key: &str, add: u8) -> String {
    format!(r#"{{"eventId":"{id}","eventName":"Added","data":{{"id":"{key}","add":{add},"then":""}}}}"#)
}

/// A waiting event whose first attempt has failed.
fn waits(offset: i64, state: WaitingState, id: &str, key: &str, add: u8) -> WaitingRow {
    WaitingRow {
        offset,
        queue: window_key_of(key.as_bytes()),
        state,
        attempts: 1,
        since: at(1_700_000_000),
        first_failed_at: Some(at(1_700_000_001)),
        due: at(1_700_000_002),
        error_code: "busy".into(),
        error_message: "try again".into(),
        key: Some(key.into()),
        payload: Some(added(id, key, add).into()),
        headers: Vec::new(),
        timestamp: Some(1_700_000_000_000 + offset),
    }
}

/// The waiting events of [`live`], in the order of offsets: two events of one key, a held one, and one that was running.
pub(super) fn waiting_live() -> Vec<WaitingRow> {
    vec![
        waits(10, WaitingState::Retry, "e-10", "late", 1),
        WaitingRow {
            attempts: 0,
            first_failed_at: None,
            error_code: String::new(),
            error_message: String::new(),
            ..waits(11, WaitingState::Behind, "e-11", "late", 2)
        },
        waits(12, WaitingState::Held(OnExhausted::ParkKey), "e-12", "held", 3),
        waits(15, WaitingState::Running, "e-15", "ran", 4),
    ]
}

/// The waiting events of [`hurt`]: one in each state, with unusual bytes, and one without any optional value.
pub(super) fn waiting_hurt() -> Vec<WaitingRow> {
    let states = [
        WaitingState::Retry,
        WaitingState::Behind,
        WaitingState::Running,
        WaitingState::Held(OnExhausted::DeadLetter),
        WaitingState::Held(OnExhausted::ParkKey),
        WaitingState::Held(OnExhausted::Stop),
    ];
    let mut rows: Vec<WaitingRow> = (0..)
        .zip(states)
        .map(|(offset, state)| WaitingRow {
            offset,
            queue: b"\x01\xff\x00lane".to_vec(),
            state,
            attempts: 7,
            since: Timestamp::new(1_700_000_000, 123_456_789).expect("a time"),
            first_failed_at: Some(Timestamp::new(1_700_000_001, 987_654_321).expect("a time")),
            due: at(1_700_000_002),
            error_code: "b\0usy".into(),
            error_message: "grün \0 again".into(),
            key: Some(b"\xff\x00key".to_vec()),
            payload: Some(b"{\"a\": 1}\x00\xfe".to_vec()),
            headers: b"\x01\x00\x00\x00h\xff\xff\xff\xff".to_vec(),
            timestamp: Some(-1),
        })
        .collect();
    rows.push(WaitingRow {
        offset: 6,
        queue: Vec::new(),
        attempts: 0,
        first_failed_at: None,
        error_code: String::new(),
        error_message: String::new(),
        key: None,
        payload: None,
        headers: Vec::new(),
        timestamp: None,
        ..rows[0].clone()
    });
    rows
}

/// The settled events, with their keys.
const SETTLED: [(&str, &str, u8, EventOutcome); 3] = [
    ("a", "e-1", 1, EventOutcome::Handled),
    ("a", "e-2", 2, EventOutcome::Skipped),
    ("d", "e-9", 9, EventOutcome::DeadLettered),
];

fn entry<'a>(id: &'a str, key: &str, add: u8, outcome: EventOutcome) -> DedupEntry<'a> {
    DedupEntry {
        id: id.into(),
        print: Fingerprint::Payload(payload_hash(Some(added(id, key, add).as_bytes()))),
        outcome,
        name: "Added",
        at: at(1_700_000_003),
    }
}

/// The deduplication window of a key, in the current layout.
pub(super) fn window(key: &str) -> DedupWindow {
    let mut window = DedupWindow::default();
    for (_, id, add, outcome) in SETTLED.into_iter().filter(|(of, ..)| *of == key) {
        window.push(&entry(id, key, add, outcome));
    }
    window
}

/// The deduplication window of the key `old`, encoded in the first layout: one handled event `e-0`.
fn window_of_the_first_layout() -> Vec<u8> {
    let settled = entry("e-0", "old", 5, EventOutcome::Handled);
    let mut bytes = vec![1];
    // The hash of the id, which is no longer read.
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&payload_hash(Some(added("e-0", "old", 5).as_bytes())).to_le_bytes());
    bytes.push(1);
    bytes.extend_from_slice(&settled.at.as_microsecond().to_le_bytes());
    bytes.extend_from_slice(&[5, 3, 0]);
    bytes.extend_from_slice(b"Addede-0");
    bytes
}

/// The content of the key `old`'s window, whose layout is older than the store's.
pub(super) fn old_window() -> DedupWindow {
    let mut window = DedupWindow::default();
    window.push(&entry("e-0", "old", 5, EventOutcome::Handled));
    window
}

/// The counters, in the order of their ids.
pub(super) fn counters() -> Vec<Row<Counter>> {
    vec![counter_row("a", 1, 0), counter_row("b", 5, 1)]
}

/// The unpublished records, in their order.
pub(super) fn unpublished() -> Vec<OutgoingRecord> {
    let full = OutgoingRecord {
        topic: "out".into(),
        partition: Some(3),
        key: Some(b"\xffkey".to_vec().into()),
        payload: Some(b"one\x00\xfe".to_vec().into()),
        headers: vec![(&b"name"[..], Some(&b"v\x00"[..])), (b"\xfe", None), (b"name", Some(b""))].into(),
        timestamp: Some(1_700_000_000_000),
    };
    let bare = OutgoingRecord {
        topic: "out".into(),
        partition: None,
        key: None,
        payload: None,
        headers: HeaderBlock::default(),
        timestamp: None,
    };
    vec![full, bare]
}

/// The dead letter of the event `e-9`, whose id is [`LETTER`].
pub(super) fn dead_letter() -> DeadLetterRow {
    DeadLetterRow {
        dlq_id: LETTER.into(),
        event_id: "e-9".into(),
        hash: payload_hash(Some(added("e-9", "d", 9).as_bytes())),
        replays: 1,
        reason: "rejected".into(),
        code: "too\0late".into(),
        at: Timestamp::new(1_700_000_004, 5).expect("a time"),
    }
}

/// The id of the dead letter.
pub(super) const LETTER: u128 = 0xd1;

/// The marks on the dead letter, in the order of its replays.
pub(super) fn marks() -> Vec<LetterMark> {
    let mark = |replays, state| LetterMark {
        dlq_id: "000000000000000000000000000000d1".into(),
        replays,
        state,
        note: "a \0 note".into(),
        by: "cli:somebody".into(),
        at: Timestamp::new(1_700_000_005, 7).expect("a time"),
    };
    vec![mark(0, MarkState::Replayed), mark(1, MarkState::Parked), mark(2, MarkState::Purged)]
}

/// The record of the action that made the marks.
pub(super) fn audit() -> AuditRow {
    AuditRow {
        id: Uuid::from_u128(0xa1),
        at: at(1_700_000_006),
        by: "token@192.0.2.1".into(),
        action: "park".into(),
        letters: 3,
        selection: r#"{"reason":"re\u0000jected"}"#.into(),
    }
}

/// Writes the content into an empty store, through the [`Store`] trait.
pub(super) async fn write(store: &impl Store) {
    store.claim(GROUP).await.expect("an empty store");
    store.begin(&live(), 10).await.expect("a first position");
    let row = |key: &str, version, bytes: Vec<u8>| DedupRow { key: window_key_of(key.as_bytes()), version, bytes };
    let mut first = Changes::of_position(live(), 0, 10, 16);
    first = first.writing(vec![counter_change("a", 1, 0), counter_change("b", 2, 0)]);
    first.windows = vec![row("a", 0, b"replaced by the next".to_vec()), row("old", 0, window_of_the_first_layout())];
    first.waiting = waiting_live();
    first.outbox =
        unpublished().into_iter().map(|record| OutboxRecord { source_offset: 13, record: record.into() }).collect();
    first.dead_letters = vec![Arc::new(dead_letter())];
    assert_eq!(commit(store, first).await, Committed::Applied { revision: 1 });
    let mut second = Changes::of_position(live(), 1, 16, POSITION);
    second = second.writing(vec![counter_change("b", 5, 1)]);
    second.windows = vec![row("a", 1, window("a").as_bytes().to_vec()), row("d", 0, window("d").as_bytes().to_vec())];
    assert_eq!(commit(store, second).await, Committed::Applied { revision: 2 });

    store.begin(&hurt(), 0).await.expect("a first position");
    let mut changes = Changes::of_position(hurt(), 0, 0, SUSPECT);
    changes.waiting = waiting_hurt();
    assert_eq!(commit(store, changes).await, Committed::Applied { revision: 1 });
    for start in 0..4 {
        let assigned = store.assigned(&[hurt()]).await.expect("a start that counts").remove(0).expect("a position");
        if start == 1 || start == 2 {
            store.runs_alone(&hurt(), assigned.assignment, Some(SUSPECT)).await.expect("a suspect that counts");
        }
    }
    store.mark(audit(), marks()).await.expect("marks");
}

/// Expects that the store holds every row that [`write`] wrote.
pub(super) async fn expect(store: &impl Store) {
    store.claim(GROUP).await.expect("a store that belongs to the group");
    let foreign = store.claim("another").await;
    assert!(matches!(&foreign, Err(StoreError::ForeignGroup { owner, .. }) if owner == GROUP), "{foreign:?}");

    assert_eq!(store.positions().await.expect("positions"), [(live(), POSITION), (hurt(), SUSPECT)]);
    let known = store.reload(&live()).await.expect("an answer").expect("a position");
    assert_eq!((known.next_offset, known.revision, known.starts, known.suspects), (POSITION, 2, 0, Vec::new()));
    assert_eq!(known.waiting, waiting_live());
    let known = store.reload(&hurt()).await.expect("an answer").expect("a position");
    assert_eq!((known.next_offset, known.revision, known.starts), (SUSPECT, 1, 4));
    assert_eq!(known.suspects, [Suspect { offset: SUSPECT, running: 0, alone: 2 }]);
    assert_eq!(known.waiting, waiting_hurt());

    assert_eq!(fixture::counters(store, &["a", "b"]).await, counters());
    let keys = ["a", "d", "old"].map(|key| window_key_of(key.as_bytes()));
    let wanted = Load { windows: keys.to_vec(), dead_letters: vec![LETTER.into()], ..Load::default() };
    let mut loaded = store.load(wanted).await.expect("a readable store");
    loaded.windows.sort_by(|a, b| a.key.cmp(&b.key));
    let windows: Vec<_> = loaded
        .windows
        .into_iter()
        .map(|row| (row.key, row.version, DedupWindow::from_bytes(row.bytes).expect("a window")))
        .collect();
    let [a, d, old] = keys;
    assert_eq!(windows, [(a, 2, window("a")), (d, 1, window("d")), (old, 1, old_window())]);
    assert_eq!(loaded.dead_letters, [dead_letter()]);

    let rows = fixture::outbox(store, 0, 9).await;
    assert_eq!(rows.iter().map(|row| OutgoingRecord::clone(&row.record)).collect::<Vec<_>>(), unpublished());
    let mut found = store.marks(vec![marks()[0].dlq_id.clone()]).await.expect("marks");
    found.sort_by_key(|mark| mark.replays);
    assert_eq!(found, marks());
    assert_eq!(store.audit(9).await.expect("the audit"), [audit()]);
}
