//! Whether the service moves and is fit for work, and why a partition does not move.
//!
//! Live is a question of progress: who does not move, and nobody can say what would end that, is best ended itself. Waiting for a
//! cause that has a name (the store, the broker, an operator, what a processor calls) is no such thing: it costs only the
//! readiness. Whoever is asked here reads notes and a clock, and waits for nothing.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{
    PartitionState,
    progress::{STORE_ANSWERS, Standstill},
    status::PartitionStatus,
};
use crate::{engine::Engine, model::Health};

/// Whether the engine is live and ready.
pub(crate) fn of(engine: &Engine) -> Health {
    let status = &engine.status;
    let mut health = engine.consumer.health();
    if status.stopping.load(Ordering::Relaxed) {
        health.not_ready.push("the service is stopping".to_owned());
    }
    if !status.assigned.load(Ordering::Relaxed) {
        health.not_ready.push("no partition has been assigned yet".to_owned());
    }
    if status.paused.load(Ordering::Relaxed) {
        health.not_ready.push("an operator has paused consumption".to_owned());
    }
    health.not_ready.extend(beginning(engine));
    health.not_ready.extend(status.outbox.trouble());
    health.not_ready.extend(engine.breakers.reasons());
    health.warnings.extend(engine.orphans.warnings());
    if engine.committer.has_ended() {
        health.not_live.push("the committer has ended: nothing can be written any more".to_owned());
    }
    let relay = status.outbox.standstill();
    health.not_live.extend(relay.not_live);
    health.not_ready.extend(relay.not_ready);
    for partition in status.partitions() {
        let (state, reason, _) = partition.state();
        if !matches!(state, PartitionState::Running | PartitionState::Paused | PartitionState::Stuck) {
            health.not_ready.push(format!("{}: {}", partition.id, reason.unwrap_or_default()));
        }
        let Some(standstill) = standstill(engine, &partition) else { continue };
        let told = format!("{}: {}", partition.id, explained(engine, standstill));
        if standstill.has_named_cause() {
            health.not_ready.push(told);
        } else {
            health.not_live.push(told);
        }
    }
    if status.stopping.load(Ordering::Relaxed) {
        // Each step of a stop has a limit, so its end is known, whatever does not move meanwhile.
        health.not_ready.append(&mut health.not_live);
    }
    health
}

/// An open transaction is a reason after this time: every producer with transactions keeps records back for moments.
const TRANSACTION: Duration = Duration::from_secs(10);

/// The state of a partition and why it does not move, where it does not.
pub(crate) fn explain(engine: &Engine, partition: &PartitionStatus) -> (PartitionState, Option<String>) {
    let (state, reason, _) = partition.state();
    let Some(standstill) = standstill(engine, partition) else {
        return (state, reason.or_else(|| open_transaction(engine, partition)));
    };
    let state = if standstill.has_named_cause() { PartitionState::StoreAway } else { PartitionState::Stuck };
    (state, Some(explained(engine, standstill)))
}

/// That a producer's open transaction keeps records back.
fn open_transaction(engine: &Engine, partition: &PartitionStatus) -> Option<String> {
    let since = engine.consumer.inbox_status(&partition.id)?.transaction_since?;
    let time = Instant::now().saturating_duration_since(since);
    (time > TRANSACTION).then(|| {
        format!(
            "a transaction of a producer has been open for {} s; the records behind it come when that producer ends it, or its \
             transaction.timeout.ms does",
            time.as_secs()
        )
    })
}

/// Why the partition's owner does not move, beyond what it says itself.
fn standstill(engine: &Engine, partition: &PartitionStatus) -> Option<Standstill> {
    let (state, ..) = partition.state();
    let inbox_status = engine.consumer.inbox_status(&partition.id);
    let ready_since = inbox_status.and_then(|inbox_status| inbox_status.ready_since);
    // What keeps the whole consumer from fetching has a name; the coordinator hands on the word of records.
    let silent_since = inbox_status
        .and_then(|inbox_status| inbox_status.silent_since)
        .filter(|_| engine.consumer.health().not_ready.is_empty());
    let takes = state == PartitionState::Running
        && !engine.status.paused.load(Ordering::Relaxed)
        && engine.status.beginning.lock().is_none();
    partition.progress.standstill(takes, ready_since, silent_since)
}

fn explained(engine: &Engine, standstill: Standstill) -> String {
    match standstill {
        Standstill::Blocked(processor, time) => {
            let name = engine.registry.processors().get(processor).map_or("a processor", |entry| entry.name);
            format!("{name} has blocked its thread for {} s without awaiting anything", time.as_secs())
        }
        Standstill::StoreSilent(time) => format!("the store has not answered for {} s", time.as_secs()),
        Standstill::OwnerEnded => "its task has ended without being asked to; restart the service".to_owned(),
        Standstill::NotTaken(time) => format!("records lie ready for {} s and are not taken", time.as_secs()),
        Standstill::NotFetched(time) => {
            format!("nothing has come for {} s though its log has more; fetching again has not helped", time.as_secs())
        }
    }
}

/// Why partitions that were assigned have not begun.
fn beginning(engine: &Engine) -> Option<String> {
    let beginning = engine.status.beginning.lock();
    let (error, since) = beginning.as_ref()?;
    let waited = Instant::now().saturating_duration_since(*since);
    let reason = match error {
        Some(error) => error.as_str(),
        None if waited > STORE_ANSWERS => "it does not answer",
        None => return None,
    };
    Some(format!("assigned partitions have waited for the store for {} s: {reason}", waited.as_secs()))
}
