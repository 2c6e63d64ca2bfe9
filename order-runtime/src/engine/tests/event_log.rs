//! What the log says while a processor runs.

use std::{cell::RefCell, io, sync::LazyLock};

use serde_json::Value;
use tracing::{Dispatch, subscriber::DefaultGuard};
use tracing_subscriber::{layer::SubscriberExt as _, registry};

use super::rig::Rig;
use crate::telemetry::logs;

thread_local! {
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes what is logged.
pub(crate) struct Sink;

impl Sink {
    /// Takes what this thread logs until the guard is dropped.
    pub(crate) fn listen() -> DefaultGuard {
        // As long as there is one subscriber, `tracing` asks only the thread that first comes to a line of code whether the line
        // is wanted, for ever. Here that may be a test that listens to nothing, so let there be two.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry()));
        LazyLock::force(&SECOND);
        tracing::subscriber::set_default(registry().with(logs::layer(true, false, || Self)))
    }

    /// The lines of this thread since the last call.
    pub(crate) fn lines() -> Vec<Value> {
        let written = String::from_utf8(WRITTEN.take()).expect("a log is text");
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        written.lines().map(line).collect()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.with_borrow_mut(|written| written.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_line_of_a_processor_says_which_event_it_is_about() {
    let _guard = Sink::listen();
    let rig = Rig::start().await;
    let id = rig.send("Added", "a", 1, "speak");
    rig.settled().await;
    let lines = Sink::lines();
    let line = lines.iter().find(|line| line["message"] == "spoke").unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!(line["offset"], "the processor's own");
    let expected = serde_json::json!({
        "partition": "things/0", "offset": 0, "event": "Added", "event_id": id, "attempt": 1,
    });
    assert_eq!(line["delivery"], expected);
    let assigned =
        lines.iter().find(|line| line["message"] == "partition assigned").unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!(assigned["delivery"], Value::Null, "what no processor says is about no event");
}
