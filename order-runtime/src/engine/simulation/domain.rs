//! Processors that act as the data of their events requests.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    gate::{Gate, Killer},
    ledger::Ledger,
    scenario::{Act, Event},
};
use crate::{
    dispatch::{Class, Delivery, FailedAttempt, Injectable, Outcome, WorkingSet},
    model::{OnExhausted, RetryPolicy},
    registry::{Place, ProcessorEntry, Registry},
};

thread_local! {
    /// Whether the dependency of [`Act::Depend`] is unavailable. A world runs on one thread.
    pub(super) static AWAY: Cell<bool> = const { Cell::new(false) };

    /// The processes of the world. The partitions of each process have a cluster name at an address of its own, by which a
    /// processor finds its process.
    pub(super) static PROCESSES: RefCell<Vec<(Arc<str>, Arc<Gate>)>> = const { RefCell::new(Vec::new()) };
}

/// The process that runs a delivery.
fn process_of(delivery: &Delivery) -> Arc<Gate> {
    let cluster = &delivery.partition().cluster;
    PROCESSES.with_borrow(|processes| {
        let found = processes.iter().find(|(known, _)| Arc::ptr_eq(known, cluster));
        Arc::clone(&found.expect("a delivery runs in a process of the world").1)
    })
}

const DONE: ProcessorEntry = ProcessorEntry {
    event: "Done",
    version: 1,
    name: "EventProcessor_Done",
    summary: "",
    input: None,
    arguments: &[],
    policy: RetryPolicy {
        retries: 3,
        backoff: Duration::from_millis(5),
        backoff_max: Duration::from_millis(400),
        timeout: Duration::from_secs(2),
        on_exhausted: OnExhausted::DeadLetter,
    },
    place: Place { file: "domain.rs", line: 1, module: "simulation" },
    handler: |delivery| Box::pin(act(delivery)),
};

static PROCESSORS: [ProcessorEntry; 2] = [
    DONE,
    ProcessorEntry {
        event: "Depended",
        name: "EventProcessor_Depended",
        policy: RetryPolicy { backoff: Duration::from_secs(1), backoff_max: Duration::from_secs(8), ..DONE.policy },
        ..DONE
    },
];

pub(super) fn registry() -> Registry {
    let registry = Registry::from_entries(
        PROCESSORS.iter(),
        std::iter::empty(),
        std::iter::empty(),
        std::iter::empty(),
        &BTreeMap::new(),
    );
    registry.expect("two processors do not conflict")
}

impl Event {
    pub(super) fn id(&self) -> String {
        format!("{}-{}", self.key, self.n)
    }

    pub(super) fn payload(&self) -> String {
        let (act, argument) = match self.act {
            Act::Undecodable => return "{\"eventName\": ".to_owned(),
            Act::Succeed => ("succeed", 0),
            Act::Depend => ("depend", 0),
            Act::Slow(milliseconds) => ("slow", milliseconds),
            Act::Fail(times) => ("fail", times.into()),
            Act::Panic => ("panic", 0),
            Act::Hang => ("hang", 0),
            Act::Reject => ("reject", 0),
            Act::Skip => ("skip", 0),
            Act::Unknown => ("unknown", 0),
            Act::Park(times) => ("park", times.into()),
            Act::Stop => ("stop", 1),
            Act::Kill(milliseconds) => ("kill", milliseconds),
        };
        let name = match self.act {
            Act::Unknown => "Unheard",
            Act::Depend => "Depended",
            _ => "Done",
        };
        let data = json!({
            "id": self.key.to_string(), "n": self.n, "act": act, "argument": argument,
            "also": self.also.map(|also| also.to_string()), "refused": self.refused,
        });
        json!({"eventId": self.id(), "eventName": name, "data": data}).to_string()
    }
}

async fn act(delivery: Delivery) -> Outcome {
    let event: crate::dispatch::Event<Value> = match delivery.event() {
        Ok(event) => event,
        Err(outcome) => return outcome,
    };
    let data = &event.data;
    let ledgers = WorkingSet::<Ledger>::inject(&delivery);
    let id = data["id"].as_str().unwrap_or_default().to_owned();
    let mut own = ledgers.get(&id).await.unwrap_or(Ledger { id, ..Ledger::default() });
    own.applied.extend(data["n"].as_u64().and_then(|n| u32::try_from(n).ok()));
    own.refused |= data["refused"] == true;
    ledgers.put(own);
    if let Some(also) = data["also"].as_str() {
        let id = also.to_owned();
        let mut other = ledgers.get(&id).await.unwrap_or(Ledger { id, ..Ledger::default() });
        other.touched += 1;
        ledgers.put(other);
    }
    // The changes made so far are committed only if the event succeeds.
    let failed = |class| Outcome::Failed(FailedAttempt { class, code: "told_to".into(), message: String::new() });
    if data["act"] == "depend" && AWAY.get() {
        return failed(Class::Unavailable);
    }
    let argument = data["argument"].as_u64().unwrap_or_default();
    match data["act"].as_str().unwrap_or_default() {
        "slow" => {
            tokio::time::sleep(Duration::from_millis(argument)).await;
            Outcome::Done
        }
        "fail" if u64::from(event.attempt()) <= argument => failed(Class::Retry),
        // Unlike `panic!`, this prints nothing: there are thousands of these panics.
        "panic" if event.attempt() == 1 => std::panic::resume_unwind(Box::new("requested by the event")),
        "hang" if event.attempt() == 1 => std::future::pending().await,
        "reject" => failed(Class::DeadLetter),
        "skip" => failed(Class::Skip),
        "park" if u64::from(event.attempt()) <= argument => failed(Class::ParkKey),
        "stop" if u64::from(event.attempt()) <= argument => failed(Class::Stop),
        "kill" => {
            if argument > 0 {
                tokio::time::sleep(Duration::from_millis(argument)).await;
            }
            let process = process_of(&delivery);
            process.open().await;
            process.kill(Killer {
                event_id: delivery.event_id().to_owned(),
                partition: delivery.partition().clone(),
                offset: delivery.record().offset,
            });
            std::future::pending().await
        }
        _ => Outcome::Done,
    }
}
