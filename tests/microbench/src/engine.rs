//! A batch of events in the whole engine: decoded, dispatched key by key, and committed in memory.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use order_runtime::{
    __private::bench,
    StatsView,
    dispatch::{Delivery, Handler, Outcome},
    model::{OnExhausted, RetryPolicy},
    registry::{Place, ProcessorEntry, Registry},
};
use order_service::orders::features::pay_order::schemas::INPUT_PayOrder;
use tokio::task::yield_now;

use crate::{
    EVENTS, Run,
    events::{self, Bad},
    feed::Feed,
};

/// A processor that finishes without waiting.
pub(crate) const AT_ONCE: Handler = |delivery| Box::pin(async move { handle(&delivery) });

/// A processor that waits once. Meanwhile its key queue is blocked, and the others continue.
pub(crate) const LATER: Handler = later;

fn later(delivery: Delivery) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
    Box::pin(async move {
        yield_now().await;
        handle(&delivery)
    })
}

fn handle(delivery: &Delivery) -> Outcome {
    match delivery.event::<INPUT_PayOrder>() {
        Ok(_) => Outcome::Done,
        Err(outcome) => outcome,
    }
}

/// Events for a number of processors, each with its own key.
pub(crate) fn dispatch(processors: usize) -> Run {
    run(registry(processors, AT_ONCE), EVENTS, move |index| events::plain(&name(index % processors), index), handled)
}

/// Events of a number of keys for one processor.
pub(crate) fn queues(keys: usize, handler: Handler) -> Run {
    run(registry(1, handler), keys, |index| events::plain(&name(0), index), handled)
}

/// Events that become dead letters, for one processor.
pub(crate) fn dead_letters(bad: Bad) -> Run {
    run(registry(1, AT_ONCE), EVENTS, |index| events::bad(bad, &name(0), index), |stats| stats.dead_lettered)
}

fn handled(stats: &StatsView) -> u64 {
    stats.ok
}

/// Creates a run that checks that every event has the outcome that `outcome` counts.
fn run(registry: Registry, keys: usize, payload: impl Fn(usize) -> String, outcome: fn(&StatsView) -> u64) -> Run {
    let records = events::records(keys, payload);
    // One thread, so that the count does not depend on scheduling.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (feed, events) = Feed::new();
    let engine = runtime.block_on(async {
        let engine =
            bench::engine(registry, Arc::clone(&feed) as _, events).await.expect("the memory store accepts everything");
        feed.assign().await;
        engine
    });
    Box::new(move || {
        runtime.block_on(feed.handle(&records));
        let stats = engine.stats();
        assert_eq!(outcome(&stats), stats.consumed, "every event has the outcome that is measured");
    })
}

/// A registry of processors whose events differ only in a number.
pub(crate) fn registry(processors: usize, handler: Handler) -> Registry {
    let policy = RetryPolicy {
        retries: 3,
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_secs(1),
        // Longer than a run under valgrind.
        timeout: Duration::from_mins(1),
        on_exhausted: OnExhausted::DeadLetter,
    };
    let entries: Vec<ProcessorEntry> = (0..processors)
        .map(|number| ProcessorEntry {
            event: name(number).leak(),
            version: 1,
            name: "EventProcessor_Bench",
            summary: "",
            input: None,
            arguments: &[],
            policy,
            place: Place { file: file!(), line: line!(), module: module_path!() },
            handler,
        })
        .collect();
    // A registry's entries are static, because they are normally linked into the program.
    bench::registry(entries.leak()).expect("each event has one processor")
}

fn name(number: usize) -> String {
    format!("OrderPaid{number:04}")
}
