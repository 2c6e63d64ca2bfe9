//! What a page knows of the service, and what has changed since it was told last.

use std::collections::VecDeque;

use serde::Serialize;

use super::history::Point;
use crate::{
    engine::observe::{OrphanView, PartitionView, ProcessorStats, StatsView},
    http::{HttpParts, admin::Access},
    registry::ProcessorView,
};

/// Everything that changes.
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

/// One processor's counters, and the time that its attempts took.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessorRow {
    #[serde(flatten)]
    stats: ProcessorStats,
    /// Attempts that have ended.
    attempts: u64,
    /// The milliseconds that they took together.
    milliseconds: f64,
}

impl ProcessorRow {
    fn all(parts: &HttpParts) -> Vec<Self> {
        let times = parts.sources.metrics.attempts();
        let row = |(stats, (attempts, seconds)): (_, (_, f64))| Self {
            stats,
            attempts,
            // More digits would only be more to send.
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

    /// What a page must hear that knows `before`; everything where it knows nothing.
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

/// The numbers, which are few, and the rows that are not what they were.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changes<'a> {
    stats: StatsView,
    paused: bool,
    not_live: &'a [String],
    not_ready: &'a [String],
    warnings: &'a [String],
    /// Partitions that this instance does not own and in which events wait.
    orphans: &'a [OrphanView],
    partitions: Rows<'a, PartitionView>,
    processors: Rows<'a, ProcessorRow>,
}

/// Rows of a table by their place in it.
#[derive(Debug, Serialize)]
struct Rows<'a, T> {
    /// The table is made anew: it has these rows and no others.
    whole: bool,
    rows: Vec<(usize, &'a T)>,
}

impl<'a, T: PartialEq> Rows<'a, T> {
    /// `identity` says which rows are about the same thing.
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

/// What a page hears first.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Greeting<'a> {
    pub(super) version: &'static str,
    /// What the operator needs to administer, so that a page does not ask for what it is refused.
    pub(super) access: Access,
    /// Whether the broker is the embedded one.
    pub(super) embedded_broker: bool,
    /// In the order of their counters.
    pub(super) declared: Vec<ProcessorView>,
    pub(super) history: &'a VecDeque<Point>,
    #[serde(flatten)]
    pub(super) changes: Changes<'a>,
}

/// What a page hears every second.
#[derive(Debug, Serialize)]
pub(super) struct Tick<'a> {
    pub(super) point: Point,
    #[serde(flatten)]
    pub(super) changes: Changes<'a>,
}

/// An event of the stream, ready to be sent to every page as it is.
pub(super) fn frame(event: &str, data: &impl Serialize) -> Option<bytes::Bytes> {
    // JSON has no line break outside of its strings, and none unescaped within.
    let data = serde_json::to_string(data).inspect_err(|error| tracing::error!(%error, "the page cannot be told"));
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

    fn told(before: Option<&Snapshot>, now: &Snapshot) -> (Value, Vec<u64>) {
        let told = json!(now.since(before));
        let rows = told["partitions"]["rows"].as_array().expect("rows");
        (told["partitions"]["whole"].clone(), rows.iter().filter_map(|row| row[0].as_u64()).collect())
    }

    #[test]
    fn only_rows_that_have_changed_are_told() {
        let before = snapshot(vec![partition(0, 1), partition(1, 1)]);
        let now = snapshot(vec![partition(0, 1), partition(1, 2)]);
        assert_eq!(told(Some(&before), &now), (json!(false), vec![1]));
        assert_eq!(told(Some(&now), &now), (json!(false), vec![]));
        assert_eq!(told(None, &now), (json!(true), vec![0, 1]));
    }

    #[test]
    fn other_partitions_make_a_new_table() {
        let before = snapshot(vec![partition(0, 1), partition(1, 1)]);
        assert_eq!(told(Some(&before), &snapshot(vec![partition(0, 1)])), (json!(true), vec![0]));
        assert_eq!(told(Some(&before), &snapshot(vec![partition(0, 1), partition(2, 1)])), (json!(true), vec![0, 1]));
    }

    #[test]
    fn a_frame_is_one_event_whatever_is_in_it() {
        let frame = frame("tick", &json!({"reason": "a\n\nevent: b"})).expect("a frame");
        assert_eq!(&*frame, b"event: tick\ndata: {\"reason\":\"a\\n\\nevent: b\"}\n\n");
    }
}
