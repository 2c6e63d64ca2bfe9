//! Capture of log lines, and the fields of a processor's log lines.

use std::{cell::RefCell, io, sync::LazyLock};

use serde_json::Value;
use tracing::{Dispatch, subscriber::DefaultGuard};
use tracing_subscriber::{layer::SubscriberExt as _, registry};

use super::rig::Rig;
use crate::telemetry::logs;

thread_local! {
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A writer that keeps the log lines of each thread.
pub(crate) struct Sink;

impl Sink {
    /// Captures the log lines of this thread until the guard is dropped.
    pub(crate) fn listen() -> DefaultGuard {
        // While only one subscriber exists, `tracing` asks only the thread that reaches a log statement first whether it is
        // enabled, and keeps the answer. That thread may belong to a test without a subscriber, so a second subscriber is
        // created here.
        static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(registry()));
        LazyLock::force(&SECOND);
        tracing::subscriber::set_default(registry().with(logs::layer(true, false, || Self)))
    }

    /// Returns the log lines of this thread since the last call.
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
async fn log_lines_of_a_processor_name_their_event() {
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
    assert_eq!(assigned["delivery"], Value::Null, "only lines of processors name an event");
}
