//! Positions, starts and waiting events.

use super::fixture::{at, begun, commit, outbox, partition, place, step, waiting};
use crate::{
    model::{HeaderBlock, OnExhausted, OutgoingRecord, PartitionId},
    store::{Changes, Committed, OutboxRecord, Store, StoreError, Suspect, WaitingCount, WaitingRow, WaitingState},
};

pub(super) async fn first_position_is_written_once(store: impl Store) {
    let partition = partition(0);
    assert_eq!(store.reload(&partition).await.expect("an answer"), None);

    let first = store.begin(&partition, 42).await.expect("a first position");
    let second = store.begin(&partition, 99).await.expect("the stored position");
    assert_eq!((first.next_offset, first.revision, first.starts), (42, 0, 1));
    assert_eq!(second.next_offset, 42, "the later call gets the stored position");
    assert!(second.assignment > first.assignment && second.revision > first.revision, "and counts as an assignment");
    assert_eq!(store.positions().await.expect("positions"), [(partition, 42)]);
}

pub(super) async fn a_topic_is_known_by_any_of_its_partitions(store: impl Store) {
    begun(&store, 0).await;
    let other_cluster = PartitionId { cluster: "elsewhere".into(), ..partition(1) };
    assert!(store.knows_topic(&partition(1)).await.expect("an answer"));
    assert!(!store.knows_topic(&other_cluster).await.expect("an answer"));
}

pub(super) async fn topics_without_an_id_are_distinguished_by_name(store: impl Store) {
    let named = |topic: &str| PartitionId { topic_id: uuid::Uuid::nil(), topic: topic.into(), ..partition(0) };
    store.begin(&named("a"), 5).await.expect("a first position");
    assert!(!store.knows_topic(&named("b")).await.expect("an answer"));
    assert_eq!(store.begin(&named("b"), 6).await.expect("a first position").next_offset, 6);
}

pub(super) async fn waiting_keys_and_events_are_counted_by_partition(store: impl Store) {
    let (first, second, unknown) = (begun(&store, 0).await, begun(&store, 1).await, partition(2));
    let row = |offset, queue: &[u8]| WaitingRow { queue: queue.to_vec(), ..waiting(offset) };
    let rows = vec![row(0, b"\x01a"), row(1, b"\x01a"), row(2, b"\x01b")];
    commit(&store, Changes { to: 3, waiting: rows, ..step(&first, 0, 0) }).await;
    let counts = store.count_waiting(&[unknown, first, second]).await.expect("an answer");
    let none = WaitingCount::default();
    assert_eq!(counts, [none, WaitingCount { keys: 2, events: 3 }, none]);
}

pub(super) async fn assignment_counts_starts_until_a_commit(store: impl Store) {
    let known = begun(&store, 0).await;
    let both = [partition(1), known.clone()];
    store.assigned(&both).await.expect("an answer");
    let assigned = store.assigned(&both).await.expect("an answer");
    assert_eq!(assigned[0], None);
    assert_eq!(assigned[1].as_ref().map(|known| known.starts), Some(3), "the first position was a start too");

    let reload = async || store.reload(&known).await.expect("an answer").expect("a position");
    let revision = reload().await.revision;
    commit(&store, step(&known, 0, revision)).await;
    let reloaded = reload().await;
    assert_eq!((reloaded.starts, reloaded.next_offset), (3, 1), "only a commit that proves resets the starts");
    commit(&store, Changes { proves: true, ..step(&known, 1, reloaded.revision) }).await;
    assert_eq!(reload().await.starts, 0);
}

pub(super) async fn an_assignment_fences_the_owner_before_it(store: impl Store) {
    let known = begun(&store, 0).await;
    let assign = async || store.assigned(std::slice::from_ref(&known)).await.expect("an answer").remove(0);
    let (former, current) = (assign().await.expect("a position"), assign().await.expect("a position"));
    assert_eq!(commit(&store, step(&known, 0, former.revision)).await, Committed::Fenced);
    let applied = commit(&store, step(&known, 0, current.revision)).await;
    assert_eq!(applied, Committed::Applied { revision: current.revision + 1 });
}

pub(super) async fn an_assignment_that_ended_normally_does_not_count(store: impl Store) {
    let known = begun(&store, 0).await;
    let assign = async || store.assigned(std::slice::from_ref(&known)).await.expect("an answer").remove(0);
    let starts = async || store.reload(&known).await.expect("an answer").expect("a position").starts;
    let first = assign().await.expect("a position");
    let second = assign().await.expect("a position");
    assert!(second.assignment > first.assignment);
    let end = async |assignment| store.ended(&[(known.clone(), assignment)]).await.expect("an answer");
    end(first.assignment).await;
    assert_eq!(starts().await, 3, "another assignment has followed it");
    end(second.assignment).await;
    end(second.assignment).await;
    assert_eq!(starts().await, 2, "an assignment ends only once");
    store.ended(&[(partition(9), 1)]).await.expect("an unknown partition is ignored");
}

pub(super) async fn events_that_were_running_when_an_owner_died_are_suspects(store: impl Store) {
    let known = begun(&store, 0).await;
    let row = |offset, state| WaitingRow { state, ..waiting(offset) };
    let mut changes = step(&known, 0, 0);
    changes.waiting = vec![row(3, WaitingState::Running), row(4, WaitingState::Behind), row(5, WaitingState::Retry)];
    commit(&store, changes).await;
    let assign = async || store.assigned(std::slice::from_ref(&known)).await.expect("an answer").remove(0);
    let suspects = async || {
        let stored = store.reload(&known).await.expect("an answer").expect("a position");
        stored.suspects.iter().map(|it| (it.offset, it.running, it.alone)).collect::<Vec<_>>()
    };
    let assigned = assign().await.expect("a position");
    assert_eq!(assigned.suspects, [Suspect { offset: 3, running: 1, alone: 0 }]);
    store.ended(&[(known.clone(), assigned.assignment)]).await.expect("an answer");
    assign().await;
    assert_eq!(suspects().await, [(3, 1, 0)], "no owner died in between");
    assign().await;
    assert_eq!(suspects().await, [(3, 2, 0)]);
    let last = assign().await.expect("a position").assignment;
    assert_eq!(store.runs_alone(&known, last, Some(3)).await.expect("an answer"), 0);
    assert_eq!(suspects().await, [(3, 3, 0)]);
    assign().await;
    assert_eq!(suspects().await, [(3, 4, 1)]);
}

pub(super) async fn waiting_events_keep_their_record_byte_for_byte(store: impl Store) {
    let known = begun(&store, 0).await;
    let bare = WaitingRow {
        offset: 0,
        queue: Vec::new(),
        state: WaitingState::Held(OnExhausted::Stop),
        first_failed_at: None,
        key: None,
        payload: None,
        headers: Vec::new(),
        timestamp: None,
        ..waiting(0)
    };
    let empty = WaitingRow {
        offset: 1,
        state: WaitingState::Held(OnExhausted::ParkKey),
        key: Some(Vec::new()),
        payload: Some(Vec::new()),
        ..waiting(1)
    };
    let rows = vec![
        bare,
        empty,
        waiting(2),
        WaitingRow { state: WaitingState::Behind, ..waiting(3) },
        WaitingRow { state: WaitingState::Running, ..waiting(4) },
        WaitingRow { state: WaitingState::Held(OnExhausted::DeadLetter), ..waiting(5) },
    ];
    let mut changes = step(&known, 0, 0);
    changes.waiting = rows.iter().rev().cloned().collect();
    assert_eq!(commit(&store, changes).await, Committed::Applied { revision: 1 });

    let assigned = store.assigned(&[known]).await.expect("an answer").remove(0).expect("a position");
    assert_eq!(assigned.waiting, rows);
}

pub(super) async fn waiting_events_are_replaced_and_released(store: impl Store) {
    let known = begun(&store, 0).await;
    let mut changes = step(&known, 0, 0);
    changes.waiting = vec![waiting(0), waiting(1), waiting(2)];
    commit(&store, changes).await;

    let tried_again = WaitingRow { attempts: 4, due: at(1_700_000_009), ..waiting(1) };
    let mut changes = step(&known, 1, 1);
    changes.released = vec![0, 2];
    changes.waiting = vec![tried_again.clone(), WaitingRow { attempts: 0, ..waiting(2) }];
    assert_eq!(commit(&store, changes).await, Committed::Applied { revision: 2 });

    let left = store.reload(&known).await.expect("an answer").expect("a position").waiting;
    assert_eq!(left, [tried_again, WaitingRow { attempts: 0, ..waiting(2) }], "released first, then written");
}

pub(super) async fn releasing_an_event_that_does_not_wait_is_a_conflict(store: impl Store) {
    let known = begun(&store, 0).await;
    let other = begun(&store, 1).await;
    let mut changes = step(&known, 0, 0);
    changes.waiting = vec![waiting(0)];
    commit(&store, changes).await;

    for (released, why) in [(vec![0, 1], "a missing offset"), (vec![0, 0], "a repeated offset")] {
        let mut changes = step(&known, 1, 1);
        changes.released = released;
        assert_eq!(commit(&store, changes).await, Committed::Conflict, "{why}");
    }
    let mut of_another_partition = step(&other, 0, 0);
    of_another_partition.released = vec![0];
    assert_eq!(commit(&store, of_another_partition).await, Committed::Conflict);
    assert_eq!(store.waiting(10).await.expect("waiting events"), [(known.clone(), waiting(0))]);
    assert_eq!(place(&store, &known).await, (1, 1));
}

pub(super) async fn waiting_events_are_listed_by_partition_and_offset(store: impl Store) {
    let second = begun(&store, 1).await;
    let first = begun(&store, 0).await;
    for (partition, offsets) in [(&second, [3, 2]), (&first, [9, 8])] {
        let mut changes = step(partition, 0, 0);
        changes.waiting = offsets.map(waiting).to_vec();
        commit(&store, changes).await;
    }
    let listed = |rows: Vec<(PartitionId, WaitingRow)>| -> Vec<_> {
        rows.into_iter().map(|(partition, row)| (partition.partition, row.offset)).collect()
    };
    assert_eq!(listed(store.waiting(usize::MAX).await.expect("rows")), [(0, 8), (0, 9), (1, 2), (1, 3)]);
    assert_eq!(listed(store.waiting(3).await.expect("rows")), [(0, 8), (0, 9), (1, 2)]);
}

pub(super) async fn committable_offset(store: impl Store) {
    let known = begun(&store, 0).await;
    let other = begun(&store, 1).await;
    let record = OutgoingRecord {
        topic: "out".into(),
        partition: None,
        key: None,
        payload: None,
        headers: HeaderBlock::default(),
        timestamp: None,
    };
    let mut changes = step(&known, 0, 0);
    changes.to = 10;
    changes.waiting = vec![waiting(4)];
    changes.outbox = vec![OutboxRecord { source_offset: 2, record: record.into() }];
    commit(&store, changes).await;

    let expected = |volatile: i64| if store.durable() { 10 } else { volatile };
    let committable = async || store.committable(&known, 10).await.expect("an offset");
    assert_eq!(committable().await, expected(2), "the outbox holds it back");
    assert_eq!(store.committable(&other, 10).await.expect("an offset"), 10, "other partitions do not");

    let published = outbox(&store, 0, 10).await.iter().map(|row| row.id).collect();
    store.published(published).await.expect("deleted");
    assert_eq!(committable().await, expected(4), "a waiting event holds it back");

    let mut changes = step(&known, 10, 1);
    changes.to = 10;
    changes.released = vec![4];
    commit(&store, changes).await;
    assert_eq!(committable().await, 10);
}

pub(super) async fn deaths_count_for_the_event_that_ran_alone_until_it_is_cleared(store: impl Store) {
    let (known, other) = (begun(&store, 0).await, begun(&store, 1).await);
    let assign = async |of: &PartitionId| {
        let assigned = store.assigned(std::slice::from_ref(of)).await.expect("an answer").remove(0);
        assigned.expect("a position").assignment
    };
    // An owner runs events alone, one after the other, and dies.
    let dies = async |of: &PartitionId, offsets: &[i64]| {
        let assignment = assign(of).await;
        for offset in offsets {
            store.runs_alone(of, assignment, Some(*offset)).await.expect("an answer");
        }
    };
    let suspects = async |of| {
        let stored = store.reload(of).await.expect("an answer").expect("a position");
        stored.suspects.iter().map(|it| (it.offset, it.alone)).collect::<Vec<_>>()
    };
    dies(&known, &[5]).await;
    dies(&known, &[6, 5]).await;
    dies(&other, &[5]).await;
    assert_eq!(suspects(&known).await, [(5, 1), (6, 0)], "the last owner may still be alive");
    let assignment = assign(&known).await;
    assign(&other).await;
    assert_eq!(suspects(&known).await, [(5, 2), (6, 0)]);
    assert_eq!(suspects(&other).await, [(5, 1)]);
    let runs = async |assignment, offset| store.runs_alone(&known, assignment, offset).await.expect("an answer");
    assert_eq!((runs(assignment, Some(6)).await, runs(assignment, Some(5)).await), (0, 2));

    runs(assignment, None).await;
    let assignment = assign(&known).await;
    assert_eq!(suspects(&known).await, [(5, 2), (6, 0)], "no event ran alone when the owner died");
    runs(assignment, Some(6)).await;
    store.ended(&[(known.clone(), assignment)]).await.expect("an answer");
    let assignment = assign(&known).await;
    assert_eq!(suspects(&known).await, [(5, 2), (6, 0)], "the assignment ended normally");
    assert_eq!(runs(assignment - 1, Some(6)).await, 0);
    assert_eq!(store.runs_alone(&partition(9), 1, Some(5)).await.expect("an answer"), 0, "it has no position");
    let assignment = assign(&known).await;
    assert_eq!(suspects(&known).await, [(5, 2), (6, 0)], "a superseded assignment changes nothing");

    runs(assignment, Some(5)).await;
    let revision = store.reload(&known).await.expect("an answer").expect("a position").revision;
    commit(&store, Changes { proves: true, ..step(&known, 0, revision) }).await;
    assert_eq!(suspects(&known).await, [(5, 2), (6, 0)], "the commit did not clear them");
    commit(&store, Changes { cleared: vec![5, 7], ..step(&known, 1, revision + 1) }).await;
    assign(&known).await;
    assert_eq!(suspects(&known).await, [(6, 0)]);
    assert_eq!(suspects(&other).await, [(5, 1)]);
}

pub(super) async fn another_consumer_group_is_refused(store: impl Store) {
    let id = store.claim("ours").await.expect("the first claim");
    assert_eq!(store.claim("ours").await.expect("the same group"), id);
    let refused = store.claim("theirs").await.expect_err("another group");
    assert!(
        matches!(&refused, StoreError::ForeignGroup { owner, asked } if owner == "ours" && asked == "theirs"),
        "{refused:?}"
    );
    store.ping().await.expect("a store that can still be written to");
}
