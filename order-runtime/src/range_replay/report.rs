//! The result of a replay.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    engine::observe::StatsView,
    identity::{DedupEntry, DedupWindow, EventOutcome},
    model::{DeadLetterId, PartitionId},
    store::{DeadLetterRow, Loaded},
};

/// Maximum number of example differences.
const EXAMPLES: usize = 20;

/// The result of a replay.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Whether it was a shadow replay, which changes nothing.
    pub(crate) shadow: bool,
    /// Records consumed.
    pub(crate) records: u64,
    /// Events handled.
    pub(crate) handled: u64,
    /// Events skipped, mostly repeats.
    pub(crate) skipped: u64,
    /// Events dead-lettered.
    pub(crate) dead_lettered: u64,
    /// Events held for an operator; the replay drops them at its end.
    pub(crate) held: u64,
    /// Shadow replay: events with the same outcome as in the store.
    pub(crate) same: u64,
    /// Shadow replay: events that the store does not know.
    pub(crate) unknown: u64,
    /// Shadow replay: events with another outcome than in the store, by the two outcomes.
    pub(crate) different: BTreeMap<String, u64>,
    /// Examples of different outcomes.
    pub(crate) examples: Vec<Difference>,
}

/// An event whose outcome differs from the stored one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Difference {
    pub(crate) partition: String,
    pub(crate) event_id: String,
    pub(crate) event_name: String,
    pub(crate) was: EventOutcome,
    pub(crate) would_be: EventOutcome,
    /// The error code, if the event would be dead-lettered.
    pub(crate) error_code: String,
}

/// The outcome of an event in a shadow replay.
pub(super) struct RangeOutcome {
    window: Vec<u8>,
    pub(super) event_id: String,
    /// The hash of its source.
    source: u64,
    event_name: String,
    outcome: EventOutcome,
    pub(super) code: String,
    /// The id of its dead letter, if no deduplication window has the event.
    letter: Option<DeadLetterId>,
}

impl RangeOutcome {
    pub(super) fn of(window: &[u8], entry: &DedupEntry<'_>) -> Self {
        Self {
            window: window.to_vec(),
            event_id: entry.id.to_string(),
            source: entry.source(),
            event_name: entry.name.to_owned(),
            outcome: entry.outcome,
            code: String::new(),
            letter: None,
        }
    }

    /// The outcome of a record that is not a valid event, or whose event id belongs to another event.
    pub(super) fn nameless(letter: &DeadLetterRow) -> Self {
        Self {
            window: Vec::new(),
            event_id: letter.event_id.clone(),
            source: 0,
            event_name: String::new(),
            outcome: EventOutcome::DeadLettered,
            code: letter.code.clone().into_owned(),
            letter: Some(letter.dlq_id),
        }
    }
}

/// The comparison of outcomes with the store so far.
#[derive(Default)]
pub(super) struct Outcomes(Mutex<Compared>);

#[derive(Default)]
struct Compared {
    same: u64,
    unknown: u64,
    different: BTreeMap<String, u64>,
    examples: Vec<Difference>,
    doubt: Option<String>,
}

impl Outcomes {
    /// Ends the replay, because it is unknown whether an event has already been applied.
    pub(super) fn doubt(&self, why: String) {
        self.0.lock().doubt.get_or_insert(why);
    }

    /// Why the replay must end.
    pub(super) fn doubted(&self) -> Option<String> {
        self.0.lock().doubt.clone()
    }

    /// Compares outcomes with the stored ones.
    pub(super) fn compare(&self, partition: &PartitionId, outcomes: Vec<RangeOutcome>, remembered: &Loaded) {
        let windows: HashMap<&[u8], DedupWindow> = remembered
            .windows
            .iter()
            .filter_map(|row| Some((&*row.key, DedupWindow::from_bytes(row.bytes.clone()).ok()?)))
            .collect();
        let mut compared = self.0.lock();
        for outcome in outcomes {
            let was = match &outcome.letter {
                Some(id) => {
                    let known = remembered.dead_letters.iter().any(|letter| letter.dlq_id == *id);
                    known.then_some(EventOutcome::DeadLettered)
                }
                None => windows
                    .get(&*outcome.window)
                    .and_then(|window| window.find(&outcome.event_id, outcome.source))
                    .map(|entry| entry.outcome),
            };
            match was {
                None => compared.unknown += 1,
                Some(was) if was == outcome.outcome => compared.same += 1,
                Some(was) => compared.differs(partition, was, outcome),
            }
        }
    }

    pub(super) fn report(&self, shadow: bool, stats: &StatsView, held: u64) -> Report {
        let compared = self.0.lock();
        Report {
            shadow,
            records: stats.consumed,
            handled: stats.ok,
            skipped: stats.skipped,
            dead_lettered: stats.dead_lettered,
            held,
            same: compared.same,
            unknown: compared.unknown,
            different: compared.different.clone(),
            examples: compared.examples.clone(),
        }
    }
}

impl Compared {
    fn differs(&mut self, partition: &PartitionId, was: EventOutcome, outcome: RangeOutcome) {
        let kind = format!("was {}, would be {}", was.as_str(), outcome.outcome.as_str());
        *self.different.entry(kind).or_default() += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(Difference {
                partition: partition.to_string(),
                event_id: outcome.event_id,
                event_name: outcome.event_name,
                was,
                would_be: outcome.outcome,
                error_code: outcome.code,
            });
        }
    }
}
