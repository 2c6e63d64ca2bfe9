//! Liveness and readiness of the service, and why a partition makes no progress.
//!
//! A component that is stuck for no known reason fails liveness, so that the orchestrator restarts the process. Waiting for a
//! known cause (the store, the broker, an operator, an external dependency of a processor) fails only readiness. The checks
//! compare recorded times with the clock, and wait for nothing.

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
        let reported = format!("{}: {}", partition.id, explained(engine, standstill));
        if standstill.has_named_cause() {
            health.not_ready.push(reported);
        } else {
            health.not_live.push(reported);
        }
    }
    if status.stopping.load(Ordering::Relaxed) {
        // Each step of a stop has a time limit, so the stop ends even if a component is stuck.
        health.not_ready.append(&mut health.not_live);
    }
    health
}

/// An open transaction is reported after this time. Shorter ones are normal for producers with transactions.
const TRANSACTION: Duration = Duration::from_secs(10);

/// The state of a partition, and the reason if it makes no progress.
pub(crate) fn explain(engine: &Engine, partition: &PartitionStatus) -> (PartitionState, Option<String>) {
    let (state, reason, _) = partition.state();
    let Some(standstill) = standstill(engine, partition) else {
        return (state, reason.or_else(|| open_transaction(engine, partition)));
    };
    let state = if standstill.has_named_cause() { PartitionState::StoreAway } else { PartitionState::Stuck };
    (state, Some(explained(engine, standstill)))
}

/// Reports an open transaction of a producer that withholds records.
fn open_transaction(engine: &Engine, partition: &PartitionStatus) -> Option<String> {
    let since = engine.consumer.inbox_status(&partition.id)?.transaction_since?;
    let time = Instant::now().saturating_duration_since(since);
    (time > TRANSACTION).then(|| {
        format!(
            "a transaction of a producer has been open for {} s; the records behind it arrive when the producer ends it \
             or its transaction.timeout.ms expires",
            time.as_secs()
        )
    })
}

/// Why the partition owner makes no progress, besides the reasons that it reports itself.
fn standstill(engine: &Engine, partition: &PartitionStatus) -> Option<Standstill> {
    let (state, ..) = partition.state();
    let inbox_status = engine.consumer.inbox_status(&partition.id);
    let ready_since = inbox_status.and_then(|inbox_status| inbox_status.ready_since);
    // A cause that stops the whole consumer from fetching is reported by the consumer itself.
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
        Standstill::OwnerEnded => "its task has ended unexpectedly; restart the service".to_owned(),
        Standstill::NotTaken(time) => format!("records have been ready for {} s and are not taken", time.as_secs()),
        Standstill::NotFetched(time) => {
            format!("no record has arrived for {} s although the log has more; refetching did not help", time.as_secs())
        }
    }
}

/// Why assigned partitions have not begun.
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
