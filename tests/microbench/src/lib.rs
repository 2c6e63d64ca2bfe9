//! Benchmarks of single parts of the runtime. Each [`Case`] handles a batch of events: decoding, dispatch, order by key, dead
//! letters, and the unit of work.
//!
//! `cargo bench -p order-microbench --features criterion` times them. `cargo xtask instructions` counts their instructions, which
//! do not depend on the machine's load, and compares them with `instructions.txt`.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "any failure ends the benchmark")]

mod events;
mod feed;

mod decode;
mod engine;
mod store;
mod unit_of_work;

use self::events::Bad;

/// The number of events in one run of a case. It is large enough that the fixed cost of a batch is negligible.
pub const EVENTS: usize = 1_000;

/// The benchmark of one part.
pub struct Case {
    /// The name, `part/circumstances`.
    pub name: &'static str,
    make: fn() -> Run,
}

/// Handles [`EVENTS`] events.
pub type Run = Box<dyn FnMut()>;

impl Case {
    /// Sets up the case once; the returned run can be called any number of times.
    pub fn prepare(&self) -> Run {
        (self.make)()
    }

    /// The case with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }
}

/// All cases.
pub static CASES: [Case; 18] = [
    Case { name: "dead letters/a broken rule", make: || engine::dead_letters(Bad::Amount) },
    Case { name: "dead letters/a missing member", make: || engine::dead_letters(Bad::Member) },
    Case { name: "dead letters/an unknown event", make: || engine::dead_letters(Bad::Name) },
    Case { name: "dead letters/not JSON", make: || engine::dead_letters(Bad::Json) },
    Case { name: "decode/typed", make: || decode::typed(events::plain) },
    Case { name: "decode/typed, unusual envelope", make: || decode::typed(events::unusual) },
    Case { name: "decode/any shape", make: || decode::any_shape(events::plain) },
    Case { name: "dispatch/1 processor", make: || engine::dispatch(1) },
    Case { name: "dispatch/10 processors", make: || engine::dispatch(10) },
    Case { name: "dispatch/100 processors", make: || engine::dispatch(100) },
    Case { name: "dispatch/1000 processors", make: || engine::dispatch(1_000) },
    Case { name: "key queues/one key", make: || engine::queues(1, engine::AT_ONCE) },
    Case { name: "key queues/10 keys that wait", make: || engine::queues(10, engine::LATER) },
    Case { name: "key queues/a key an event that waits", make: || engine::queues(EVENTS, engine::LATER) },
    Case { name: "store/generated", make: store::generated },
    Case { name: "store/by hand", make: store::by_hand },
    Case { name: "unit of work/get", make: || unit_of_work::handle(unit_of_work::get) },
    Case { name: "unit of work/get and put", make: || unit_of_work::handle(unit_of_work::get_and_put) },
];
