//! The state that pages show, and its changes since the last update.

use std::collections::VecDeque;

use serde::Serialize;

use super::history::Point;
use crate::{
    engine::observe::{OrphanView, PartitionView, ProcessorCounters, StatsView},
    http::{HttpParts, admin::Access},
    registry::ProcessorView,
};

/// The changing state of the service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    stats: StatsView,
    paused: bool,
    not_live: Vec<String>,
    not_ready: Vec<String>,
    warnings: Vec<String>,
    orphans: Vec<OrphanView>,
    partitions: Vec<PartitionView>,
    processors: Vec<ProcessorRow>,
}

/// A processor's counters, and the duration of its attempts.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessorRow {
    #[serde(flatten)]
    stats: ProcessorCounters,
    /// Number of ended attempts.
    attempts: u64,
    /// Total duration of these attempts, in milliseconds.
    milliseconds: f64,
}

impl ProcessorRow {
    fn all(parts: &HttpParts) -> Vec<Self> {
        let times = parts.sources.metrics.attempts();
        let row = |(stats, (attempts, seconds)): (_, (_, f64))| Self {
            stats,
            attempts,
            // Rounded, because more digits would only make messages larger.
            milliseconds: (seconds * 1e6).round() / 1e3,
        };
        parts.operations.processors().into_iter().zip(times).map(row).collect()
    }
}

impl Snapshot {
    pub(super) fn of(parts: &HttpParts, stats: StatsView) -> Self {
        let operations = &parts.operations;
        let health = operations.health();
        Self {
            stats,
            paused: operations.paused(),
            not_live: health.not_live,
            not_ready: health.not_ready,
            warnings: health.warnings,
            orphans: operations.orphans(),
            partitions: operations.partitions(),
            processors: ProcessorRow::all(parts),
        }
    }

    /// The changes since `before`; everything if `before` is `None`.
    pub(super) fn since<'a>(&'a self, before: Option<&Self>) -> Changes<'a> {
        let place = |view: &PartitionView| (view.topic.clone(), view.partition);
        Changes {
            stats: self.stats,
            paused: self.paused,
            not_live: &self.not_live,
            not_ready: &self.not_ready,
            warnings: &self.warnings,
            orphans: &self.orphans,
            partitions: Rows::since(before.map(|before| &*before.partitions), &self.partitions, place),
            processors: Rows::since(before.map(|before| &*before.processors), &self.processors, |_| ()),
        }
    }
}

/// The changes for pages: all numbers and lists, because they are small, and the rows that have changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changes<'a> {
    stats: StatsView,
    paused: bool,
    not_live: &'a [String],
    not_ready: &'a [String],
    warnings: &'a [String],
    /// Orphaned partitions with waiting events.
    orphans: &'a [OrphanView],
    partitions: Rows<'a, PartitionView>,
    processors: Rows<'a, ProcessorRow>,
}

/// Rows of a table by their index.
#[derive(Debug, Serialize)]
struct Rows<'a, T> {
    /// Whether these rows are the whole table.
    whole: bool,
    rows: Vec<(usize, &'a T)>,
}

impl<'a, T: PartialEq> Rows<'a, T> {
    /// The changed rows. If the rows' identities, as given by `identity`, differ from `before`, the whole table.
    fn since<I: PartialEq>(before: Option<&[T]>, now: &'a [T], identity: impl Fn(&T) -> I) -> Self {
        let all = now.iter().enumerate();
        match before {
            Some(before) if before.len() == now.len() && before.iter().map(&identity).eq(now.iter().map(&identity)) => {
                Self { whole: false, rows: all.filter(|(place, row)| before[*place] != **row).collect() }
            }
            _ => Self { whole: true, rows: all.collect() },
        }
    }
}

/// The first event of a page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Greeting<'a> {
    pub(super) version: &'static str,
    /// What the client needs to become an administrator, so that the page sends no request that would be refused.
    pub(super) access: Access,
    /// Whether the broker is the embedded one.
    pub(super) embedded_broker: bool,
    /// The declared processors, in the order of their counters.
    pub(super) declared: Vec<ProcessorView>,
    pub(super) history: &'a VecDeque<Point>,
    #[serde(flatten)]
    pub(super) changes: Changes<'a>,
}

/// The update of every second.
#[derive(Debug, Serialize)]
pub(super) struct Tick<'a> {
    pub(super) point: Point,
    #[serde(flatten)]
    pub(super) changes: Changes<'a>,
}

/// Formats an event of the stream, which is sent unchanged to every page.
pub(super) fn frame(event: &str, data: &impl Serialize) -> Option<bytes::Bytes> {
    // This JSON is on one line: line breaks in strings are escaped.
    let data = serde_json::to_string(data)
        .inspect_err(|error| tracing::error!(%error, "cannot serialize an update of the page"));
    Some(format!("event: {event}\ndata: {}\n\n", data.ok()?).into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::observe::PartitionState;

    fn partition(number: i32, position: i64) -> PartitionView {
        PartitionView {
            topic: "things".to_owned(),
            partition: number,
            state: PartitionState::Running,
            reason: None,
            since: jiff::Timestamp::UNIX_EPOCH,
            position,
            log_end: None,
            lag: None,
            waiting_keys: 0,
            waiting_events: 0,
            waiting_since: None,
        }
    }

    fn snapshot(partitions: Vec<PartitionView>) -> Snapshot {
        Snapshot {
            stats: StatsView::default(),
            paused: false,
            not_live: Vec::new(),
            not_ready: Vec::new(),
            warnings: Vec::new(),
            orphans: Vec::new(),
            partitions,
            processors: vec![ProcessorRow::default()],
        }
    }

    fn reported(before: Option<&Snapshot>, now: &Snapshot) -> (Value, Vec<u64>) {
        let reported = json!(now.since(before));
        let rows = reported["partitions"]["rows"].as_array().expect("rows");
        (reported["partitions"]["whole"].clone(), rows.iter().filter_map(|row| row[0].as_u64()).collect())
    }

    #[test]
    fn only_changed_rows_are_sent() {
        let before = snapshot(vec![partition(0, 1), partition(1, 1)]);
        let now = snapshot(vec![partition(0, 1), partition(1, 2)]);
        assert_eq!(reported(Some(&before), &now), (json!(false), vec![1]));
        assert_eq!(reported(Some(&now), &now), (json!(false), vec![]));
        assert_eq!(reported(None, &now), (json!(true), vec![0, 1]));
    }

    #[test]
    fn other_partitions_make_a_new_table() {
        let before = snapshot(vec![partition(0, 1), partition(1, 1)]);
        assert_eq!(reported(Some(&before), &snapshot(vec![partition(0, 1)])), (json!(true), vec![0]));
        assert_eq!(
            reported(Some(&before), &snapshot(vec![partition(0, 1), partition(2, 1)])),
            (json!(true), vec![0, 1])
        );
    }

    #[test]
    fn a_frame_is_one_event_whatever_its_data() {
        let frame = frame("tick", &json!({"reason": "a\n\nevent: b"})).expect("a frame");
        assert_eq!(&*frame, b"event: tick\ndata: {\"reason\":\"a\\n\\nevent: b\"}\n\n");
    }
}
