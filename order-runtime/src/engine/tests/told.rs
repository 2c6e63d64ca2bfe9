//! What the log says while a processor runs.

use std::io;

use parking_lot::Mutex;
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt as _;

use super::rig::Rig;
use crate::telemetry::logs;

static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Takes what is logged.
pub(crate) struct Sink;

impl Sink {
    /// The lines so far; tests that run beside each other share them.
    pub(crate) fn lines() -> Vec<Value> {
        let written = String::from_utf8(WRITTEN.lock().clone()).expect("a log is text");
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        written.lines().map(line).collect()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_line_of_a_processor_says_which_event_it_is_about() {
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(logs::layer(true, false, || Sink)));
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
