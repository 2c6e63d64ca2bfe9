//! A batch of events through the whole engine: decoded, looked up, called key by key, committed in memory.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use order_runtime::{
    __private::bench,
    dispatch::{Delivery, Handler, Outcome},
    engine::observe::StatsView,
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

/// A processor that is done when it is called.
pub(crate) const AT_ONCE: Handler = |delivery| Box::pin(async move { handle(&delivery) });

/// A processor that waits once: its key queue is blocked meanwhile, and the others go on.
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

/// Events for all of so many processors, each with a key of its own.
pub(crate) fn dispatch(processors: usize) -> Run {
    run(registry(processors, AT_ONCE), EVENTS, move |index| events::plain(&name(index % processors), index), handled)
}

/// Events of so many keys for one processor.
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

/// A run in which every event has the outcome that is counted there.
fn run(registry: Registry, keys: usize, payload: impl Fn(usize) -> String, outcome: fn(&StatsView) -> u64) -> Run {
    let records = events::records(keys, payload);
    // One thread, so that what is counted does not depend on who is quicker.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (feed, events) = Feed::new();
    let engine = runtime.block_on(async {
        let engine = bench::engine(registry, Arc::clone(&feed) as _, events).await.expect("memory refuses nothing");
        feed.assign().await;
        engine
    });
    Box::new(move || {
        runtime.block_on(feed.handle(&records));
        let stats = engine.operations().stats();
        assert_eq!(outcome(&stats), stats.consumed, "every event has the outcome that is measured");
    })
}

/// So many processors, for events that are called alike but for a number.
pub(crate) fn registry(processors: usize, handler: Handler) -> Registry {
    let policy = RetryPolicy {
        retries: 3,
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_secs(1),
        // Longer than a run takes under valgrind.
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
    // A registry holds what is linked into the program, so its entries live as long.
    bench::registry(entries.leak()).expect("each event has one processor")
}

fn name(number: usize) -> String {
    format!("OrderPaid{number:04}")
}
