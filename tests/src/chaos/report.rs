//! The report of a run: the outcome of every event, as one table.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use super::{
    kill::Kill,
    plan::{Expected, KILLED, Plan, REFUSED},
    producer::Acknowledged,
    snapshot::Place,
};
use crate::topic::Record;

/// The maximum number of listed mistakes.
const NAMED: usize = 10;

/// The inputs of a report.
pub(super) struct Evidence<'a> {
    pub(super) what: String,
    pub(super) plan: &'a Plan,
    pub(super) acknowledged: &'a [Acknowledged],
    pub(super) records: &'a [Record],
    pub(super) dead_letters: &'a [Record],
    pub(super) ledgers: &'a HashMap<String, Vec<u32>>,
    pub(super) failures: &'a BTreeMap<(String, u32), usize>,
    pub(super) kills: &'a [Kill],
    pub(super) deaths: usize,
    pub(super) snapshots: usize,
    pub(super) misplaced: &'a [String],
}

/// The accounting of a run.
#[derive(Debug, Default)]
pub struct Report {
    what: String,
    acknowledged: usize,
    records: usize,
    events: usize,
    duplicates: usize,
    applied: usize,
    dead: usize,
    dead_repeats: usize,
    lost: usize,
    doubled: usize,
    strange: usize,
    order_breaks: usize,
    misplaced: usize,
    snapshots: usize,
    kills: usize,
    /// The number of kills during an open transaction.
    pub in_flight: usize,
    looks: u32,
    /// The number of processes that an event ended, and of such attempts that the witness recorded.
    deaths: usize,
    deaths_seen: usize,
    killers: usize,
    refused: usize,
    failures_due: usize,
    failures_seen: usize,
    failures_again: usize,
    failures_missing: usize,
    mistakes: Vec<String>,
}

impl Report {
    pub(super) fn of(evidence: Evidence<'_>) -> Self {
        let mut report = Self {
            what: evidence.what.clone(),
            acknowledged: evidence.acknowledged.len(),
            records: evidence.records.len(),
            snapshots: evidence.snapshots,
            misplaced: evidence.misplaced.len(),
            mistakes: evidence.misplaced.to_vec(),
            kills: evidence.kills.len(),
            in_flight: evidence.kills.iter().filter(|kill| kill.in_flight).count(),
            looks: evidence.kills.iter().map(|kill| kill.looks).sum(),
            deaths: evidence.deaths,
            ..Self::default()
        };
        let first = report.count_records(&evidence);
        let dead = report.count_dead_letters(&evidence, &first);
        report.count_ledgers(&evidence, &first, &dead);
        report.count_failures(&evidence);
        report.count_deaths(&evidence);
        report
    }

    fn mistake(&mut self, text: String) {
        self.mistakes.push(text);
    }

    /// Reads the topic and returns the place of each event's first record. All acknowledged records must be there.
    fn count_records(&mut self, evidence: &Evidence<'_>) -> HashMap<usize, Place> {
        let mut first = HashMap::new();
        let mut at = HashMap::new();
        for record in evidence.records {
            let place = Place { partition: record.partition, offset: record.offset };
            match evidence.plan.of_payload(record.payload.as_deref().unwrap_or_default()) {
                Some(event) => {
                    at.insert(place, event);
                    if let std::collections::hash_map::Entry::Vacant(entry) = first.entry(event) {
                        entry.insert(place);
                    } else {
                        self.duplicates += 1;
                    }
                }
                None => {
                    self.strange += 1;
                    self.mistake(format!("the record at {place:?} belongs to no event"));
                }
            }
        }
        self.events = first.len();
        for Acknowledged { place, event, .. } in evidence.acknowledged {
            if at.get(place) != Some(event) {
                self.lost += 1;
                self.mistake(format!("event {event} was acknowledged at {place:?} but is not there"));
            }
        }
        first
    }

    /// Counts dead letters by the place of their source record, with their reasons. Repeated letters have the same `dlq-id`.
    fn count_dead_letters(
        &mut self,
        evidence: &Evidence<'_>,
        first: &HashMap<usize, Place>,
    ) -> BTreeMap<usize, String> {
        let mut ids: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        let mut reasons = BTreeMap::new();
        for letter in evidence.dead_letters {
            let header = |name: &str| letter.header(name).unwrap_or_default();
            let number = |name: &str| header(name).parse::<i64>().unwrap_or(-1);
            let partition = i32::try_from(number("dlq-partition")).unwrap_or(-1);
            let place = Place { partition, offset: number("dlq-offset") };
            let event = evidence.plan.of_payload(letter.payload.as_deref().unwrap_or_default());
            let Some(event) = event.filter(|event| first.get(event) == Some(&place)) else {
                self.strange += 1;
                self.mistake(format!(
                    "a dead letter of {place:?}, which is not the first record of an event: {:?}",
                    letter.headers
                ));
                continue;
            };
            if !ids.entry(event).or_default().insert(header("dlq-id")) {
                self.dead_repeats += 1;
                continue;
            }
            let code = header("dlq-error-code");
            self.refused += usize::from(code == REFUSED);
            let blamed = [KILLED, REFUSED].into_iter().find(|blamed| *blamed == code);
            if blamed != evidence.plan.events[event].code {
                self.strange += 1;
                self.mistake(format!("event {event} was dead-lettered with the code {code}: {:?}", letter.headers));
            }
            reasons.insert(event, header("dlq-reason"));
        }
        for (event, ids) in ids.iter().filter(|(_, ids)| ids.len() > 1) {
            self.doubled += 1;
            self.mistake(format!("event {event} has several dead letters: {ids:?}"));
        }
        self.dead = ids.values().map(BTreeSet::len).sum();
        for (event, reason) in &reasons {
            if evidence.plan.events[*event].expected == Expected::Applied {
                self.strange += 1;
                self.mistake(format!("event {event} is valid but was dead-lettered as {reason}"));
            }
        }
        reasons
    }

    fn count_ledgers(
        &mut self,
        evidence: &Evidence<'_>,
        first: &HashMap<usize, Place>,
        dead: &BTreeMap<usize, String>,
    ) {
        let mut by_key: HashMap<&str, BTreeMap<u32, (usize, Place)>> = HashMap::new();
        for (index, place) in first {
            let event = &evidence.plan.events[*index];
            by_key.entry(&event.key).or_default().insert(event.entry, (*index, *place));
        }
        for (key, entries) in evidence.ledgers {
            let known = by_key.get(key.as_str());
            let mut latest: Option<Place> = None;
            let mut seen = BTreeSet::new();
            for entry in entries {
                let Some((event, place)) = known.and_then(|known| known.get(entry)) else {
                    self.strange += 1;
                    self.mistake(format!("{key} has entry {entry}, which is not in the topic"));
                    continue;
                };
                self.applied += 1;
                if !seen.insert(*entry) {
                    self.applied -= 1;
                    self.doubled += 1;
                    self.mistake(format!("{key} has entry {entry} twice: {entries:?}"));
                } else if latest.is_some_and(|latest| latest > *place) {
                    self.order_breaks += 1;
                    self.mistake(format!("{key} has entry {entry} too late: {entries:?}"));
                }
                if dead.contains_key(event) || evidence.plan.events[*event].expected != Expected::Applied {
                    self.doubled += 1;
                    self.mistake(format!("event {event} is in {key} but is bad or in the dead-letter topic"));
                }
                latest = latest.max(Some(*place));
            }
        }
        for (index, place) in first {
            let event = &evidence.plan.events[*index];
            let has_outcome = match event.expected {
                Expected::Applied => {
                    evidence.ledgers.get(&event.key).is_some_and(|ledger| ledger.contains(&event.entry))
                }
                Expected::Dead(reason) => dead.get(index).is_some_and(|found| found == reason),
            };
            // A valid event that was dead-lettered is already counted as strange.
            let is_strange = event.expected == Expected::Applied && dead.contains_key(index);
            if !has_outcome && !is_strange {
                self.lost += 1;
                let found = dead.get(index);
                self.mistake(format!(
                    "event {index} at {place:?} should have the outcome {:?}; dead letter: {found:?}",
                    event.expected
                ));
            }
        }
    }

    /// Counts scripted failures. Each must be recorded; a kill between a failure and its commit may cause a second record.
    fn count_failures(&mut self, evidence: &Evidence<'_>) {
        for event in &evidence.plan.events {
            for attempt in 1..=event.fails {
                self.failures_due += 1;
                let id = event.id.clone().unwrap_or_default();
                match evidence.failures.get(&(id, attempt)) {
                    Some(times) => {
                        self.failures_seen += 1;
                        self.failures_again += times - 1;
                    }
                    None => {
                        self.failures_missing += 1;
                        self.mistake(format!("attempt {attempt} at {:?} was never made", event.id));
                    }
                }
            }
        }
    }

    /// Checks that every process that ended by itself did so during an event that ends its process.
    fn count_deaths(&mut self, evidence: &Evidence<'_>) {
        let killers: BTreeSet<&str> = evidence
            .plan
            .events
            .iter()
            .filter(|event| event.code == Some(KILLED))
            .filter_map(|event| event.id.as_deref())
            .collect();
        self.killers = killers.len();
        self.deaths_seen =
            evidence.failures.iter().filter(|((id, _), _)| killers.contains(id.as_str())).map(|(_, times)| times).sum();
        if self.deaths > self.deaths_seen {
            self.mistake(format!(
                "{} processes ended by themselves, {} of them in an event that ends its process",
                self.deaths, self.deaths_seen
            ));
        }
    }

    /// Prints the table; panics if any event was lost, duplicated, out of order or unexpected, or if a position was wrong.
    pub fn print(&self) {
        eprintln!("{self}");
        let named: Vec<&String> = self.mistakes.iter().take(NAMED).collect();
        assert!(self.mistakes.is_empty(), "{}: {} mistakes:\n{named:#?}", self.what, self.mistakes.len());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "--- {}", self.what)?;
        let mut row = |name: &str, value: usize| writeln!(f, "{name:<50} {value:>9}");
        row("records acknowledged by the broker", self.acknowledged)?;
        row("records in the topic", self.records)?;
        row("  different events", self.events)?;
        row("  duplicates", self.duplicates)?;
        row("events applied to their ledgers", self.applied)?;
        row("events dead-lettered, by distinct dlq-id", self.dead)?;
        row("  repeated records of those", self.dead_repeats)?;
        row("lost", self.lost)?;
        row("doubled", self.doubled)?;
        row("neither expected nor produced", self.strange)?;
        row("order of a key broken", self.order_breaks)?;
        row("checks of positions against outcomes", self.snapshots)?;
        row("  inconsistent positions", self.misplaced)?;
        row("SIGKILLs", self.kills)?;
        row("  with a transaction in flight", self.in_flight)?;
        row("  checks for one", self.looks as usize)?;
        row("events that end their process", self.killers)?;
        row("  processes that they ended", self.deaths)?;
        row("events whose data the store refused", self.refused)?;
        row("scripted failures due", self.failures_due)?;
        row("  recorded outside the process", self.failures_seen)?;
        row("  recorded again after a kill", self.failures_again)?;
        row("  missing", self.failures_missing)
    }
}
