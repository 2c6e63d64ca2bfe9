//! A batch whose events run alone.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Notify;

use super::rig::{Rig, partition};
use crate::{
    engine::{
        batch::{Batch, Plan, context::PartitionContext, running::Running},
        observe::status::PartitionStatus,
        retry::waiting::{Waiting, queue_of},
    },
    model::{Headers, RecordBatch, RecordRef},
    store::{WaitingRow, WaitingState, memory::MemoryStore},
};

/// An event `Added` of the key `a`.
fn payload(add: i64) -> Vec<u8> {
    json!({ "eventId": format!("event-{add}"), "eventName": "Added", "data": { "id": "a", "add": add } })
        .to_string()
        .into()
}

fn waiting_row(offset: i64, queue: &[u8]) -> WaitingRow {
    WaitingRow {
        offset,
        queue: queue.to_vec(),
        state: WaitingState::Behind,
        attempts: 0,
        since: Timestamp::UNIX_EPOCH,
        first_failed_at: None,
        due: Timestamp::UNIX_EPOCH,
        error_code: String::new(),
        error_message: String::new(),
        key: Some(b"a".to_vec()),
        payload: Some(payload(offset)),
        headers: Vec::new(),
        timestamp: None,
    }
}

/// Another partition may request a turn alone at any moment. Only the first of the two waiting events runs in such a batch, and
/// a record of the same key must not run before the second one.
#[tokio::test]
async fn a_record_does_not_overtake_the_waiting_events_of_its_key() {
    let rig = Rig::start_on(Arc::new(MemoryStore::default())).await;
    let id = Arc::new(partition());
    let status = Arc::new(PartitionStatus::new(Arc::clone(&id), 0, Timestamp::UNIX_EPOCH));
    let partition = PartitionContext::new(id, Arc::clone(&rig.engine.engine), status);
    let mut queue = Vec::new();
    let mut records = RecordBatch::default();
    records.push(3, None, Some(b"a"), Some(&payload(3)), Headers::decode(&[]));
    let record: RecordRef<'_> = records.get(0).expect("the record");
    queue_of(&record, &mut queue);
    let rows = vec![waiting_row(1, &queue), waiting_row(2, &queue)];
    let waiting = Waiting::assigned(rows, Timestamp::UNIX_EPOCH, Duration::ZERO);
    let plan = Plan { due: vec![queue.into()], records: vec![(Arc::new(records), 0)], alone: true, ..Plan::default() };
    let (mut running, arrivals) = (Running::default(), Notify::new());
    let batch = Batch::new(&partition, &waiting, &mut running, &arrivals);
    let effects = batch.run(plan).await.expect("memory answers");
    assert_eq!(effects.released.keys().copied().collect::<Vec<_>>(), [1], "the first waiting event has run");
    let behind: Vec<_> = effects.waiting.values().map(|row| (row.offset, row.state)).collect();
    assert_eq!(behind, [(3, WaitingState::Behind)], "the record waits behind the second");
}
