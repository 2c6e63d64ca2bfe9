//! The oracle: checks the outcome of every event.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    ledger::Ledger,
    losses::{Excuse, Produced},
    scenario::{Act, Event, Scenario},
    troubles::is_left_out,
};
use crate::model::{OutgoingRecord, PartitionId};

/// The results of a scenario, after everything is settled.
pub(super) struct Evidence<'a> {
    /// Every record, in the order of production.
    pub(super) produced: &'a [Produced],
    pub(super) ledgers: &'a BTreeMap<String, Ledger>,
    /// The records that the broker accepted.
    pub(super) published: &'a [OutgoingRecord],
    /// The records that were committed to the outbox, in the order of the commits.
    pub(super) committed: &'a [Arc<OutgoingRecord>],
    /// Whether an operator may have given up the event at an offset.
    pub(super) gave_up: &'a dyn Fn(&PartitionId, i64) -> bool,
}

/// Compares the contents of the store and of the dead-letter topic with the produced events. The error is the first violation.
pub(super) fn check(scenario: &Scenario, evidence: &Evidence<'_>) -> Result<(), String> {
    if !is_left_out("order") {
        check_order_of_letters(evidence)?;
    }
    let letters = dead_letters(evidence)?;
    let mut occurrences: BTreeMap<(u64, u32), Vec<usize>> = BTreeMap::new();
    for (index, record) in evidence.produced.iter().enumerate() {
        occurrences.entry((record.event.key, record.event.n)).or_default().push(index);
    }
    let applied = applied(scenario, evidence, &occurrences)?;
    let mut touched = BTreeMap::<u64, u32>::new();
    for (of, indices) in &occurrences {
        let counts = applied.contains(of);
        let event = evidence.produced[indices[0]].event;
        check_event(scenario, evidence, &letters, indices, counts)?;
        if counts && let Some(also) = event.also {
            *touched.entry(also).or_default() += 1;
        }
    }
    for key in 0..scenario.keys + scenario.more_keys {
        let found = evidence.ledgers.get(&key.to_string()).map_or(0, |ledger| ledger.touched);
        let expected = touched.get(&key).copied().unwrap_or_default();
        if found != expected {
            return Err(format!("entity {key} was touched {found} times instead of {expected}"));
        }
    }
    Ok(())
}

/// Returns the applied events. Checks that each was applied once, and in the order of its log.
fn applied(
    scenario: &Scenario,
    evidence: &Evidence<'_>,
    occurrences: &BTreeMap<(u64, u32), Vec<usize>>,
) -> Result<BTreeSet<(u64, u32)>, String> {
    let mut applied = BTreeSet::new();
    for key in 0..scenario.keys + scenario.more_keys {
        let Some(ledger) = evidence.ledgers.get(&key.to_string()) else { continue };
        for n in &ledger.applied {
            if !occurrences.contains_key(&(key, *n)) || !applied.insert((key, *n)) {
                return Err(format!("key {key}: event {n} was applied twice, or was never produced"));
            }
        }
        for pair in ledger.applied.windows(2) {
            let [first, second] = [pair[0], pair[1]].map(|n| &occurrences[&(key, n)]);
            let partition = |indices: &[usize]| &evidence.produced[indices[0]].partition;
            // A recreated topic has an order of its own.
            if partition(first) == partition(second) && first[0] > counting(evidence, second) {
                return Err(format!("key {key}: events were applied in this order: {pair:?}"));
            }
        }
    }
    Ok(applied)
}

/// The last occurrence of an event that may be the applied one: the first that must be handled, or else the last of all.
fn counting(evidence: &Evidence<'_>, indices: &[usize]) -> usize {
    let obliged = indices.iter().find(|index| evidence.produced[**index].excused.is_none());
    *obliged.or(indices.last()).unwrap_or(&indices[0])
}

/// Checks the outcome of one event. `indices` are its occurrences in the logs, in their order.
fn check_event(
    scenario: &Scenario,
    evidence: &Evidence<'_>,
    letters: &Letters,
    indices: &[usize],
    counts: bool,
) -> Result<(), String> {
    let records = || indices.iter().map(|index| &evidence.produced[*index]);
    let letter_of = |record: &Produced| letters.get(&place(record)).and_then(|of| of.get(&record.event.payload()));
    let event = evidence.produced[indices[0]].event;
    let shown = |record: &Produced| {
        let letter = letter_of(record).map(|letter| &letter.code);
        format!("{event:?} at {}@{} ({:?})", record.partition, record.offset, letter)
    };
    for record in records() {
        let Some(letter) = letter_of(record) else { continue };
        if !deserves(event, record, &letter.code) && !(evidence.gave_up)(&record.partition, record.offset) {
            return Err(format!("{} has a dead letter that is not justified", shown(record)));
        }
    }
    if event.act == Act::Undecodable {
        // It has no id, so each occurrence is an event of its own.
        let missing = records().find(|record| record.excused.is_none() && letter_of(record).is_none());
        return missing.map_or(Ok(()), |record| Err(format!("{} is not dead-lettered", shown(record))));
    }
    // The first occurrence that must be handled is the one that counts; later ones must have no effect.
    let obliged = records().position(|record| record.excused.is_none());
    let mut lettered: Vec<usize> =
        records().enumerate().filter(|(_, record)| letter_of(record).is_some()).map(|(at, _)| at).collect();
    // A truncated log may contain the event at the same place again: the two share their dead letter.
    lettered.dedup_by_key(|at| place(&evidence.produced[indices[*at]]));
    if let [first, second, ..] = lettered[..] {
        let (first, second) = (&evidence.produced[indices[first]], &evidence.produced[indices[second]]);
        return Err(format!("the repeat of {} at {} is not handled as a repeat", shown(first), shown(second)));
    }
    if let (Some(obliged), Some(lettered)) = (obliged, lettered.first())
        && *lettered > obliged
    {
        let record = &evidence.produced[indices[*lettered]];
        return Err(format!("the repeat {} is not handled as a repeat", shown(record)));
    }
    let is_dead = !lettered.is_empty();
    let given_up = lettered.iter().any(|at| {
        let record = &evidence.produced[indices[*at]];
        (evidence.gave_up)(&record.partition, record.offset) || record.excused == Some(Excuse::TopicGone)
    });
    let is_valid = match event.act {
        _ if given_up => !counts,
        _ if obliged.is_none() => !(counts && is_dead),
        _ if event.refused => !counts && is_dead,
        Act::Succeed | Act::Slow(_) | Act::Park(_) | Act::Stop => counts && !is_dead,
        // Outages were the only faults, and they cost an event no attempt.
        Act::Depend if scenario.is_calm_but_for_outages() => counts && !is_dead,
        // Its budget may also have ended by time, if the store was unavailable for long.
        Act::Depend | Act::Fail(_) | Act::Panic | Act::Hang => counts != is_dead,
        Act::Reject | Act::Unknown | Act::Undecodable | Act::Kill(_) => !counts && is_dead,
        Act::Skip => !counts && !is_dead,
    };
    if is_valid {
        return Ok(());
    }
    let record = &evidence.produced[indices[obliged.unwrap_or_default()]];
    Err(format!("{}: applied: {counts}, dead-lettered: {is_dead}", shown(record)))
}

/// Whether a dead letter of the event with this code is justified, if no operator gave the event up.
fn deserves(event: Event, record: &Produced, code: &str) -> bool {
    match code {
        "source_gone" => record.excused == Some(Excuse::TopicGone),
        "store_refused" => event.refused,
        "killed_process" => matches!(event.act, Act::Kill(_)),
        "unknown_event" => event.act == Act::Unknown,
        "not_json" => event.act == Act::Undecodable,
        "panic" => event.act == Act::Panic,
        // A look-up in a silent store may use up the time of an attempt, and a killing event hangs in a frozen process.
        "timeout" => matches!(event.act, Act::Hang | Act::Fail(_) | Act::Depend | Act::Kill(_)),
        "told_to" => matches!(event.act, Act::Reject | Act::Fail(_) | Act::Depend),
        _ => false,
    }
}

/// A record's place in the logs: topic, partition, offset. A recreated topic has the same places again.
type Place = (String, i32, i64);

fn place(record: &Produced) -> Place {
    (record.partition.topic.to_string(), record.partition.partition, record.offset)
}

/// A dead letter.
struct Letter {
    id: String,
    code: String,
}

/// Dead letters by place and payload: a truncated log has other records at the same places.
type Letters = BTreeMap<Place, BTreeMap<String, Letter>>;

/// Returns the dead letters by their records. Checks that each record has at most one id, and that each dead letter has a record.
fn dead_letters(evidence: &Evidence<'_>) -> Result<Letters, String> {
    let mut payloads = BTreeMap::<Place, BTreeSet<String>>::new();
    for record in evidence.produced {
        payloads.entry(place(record)).or_default().insert(record.event.payload());
    }
    let mut letters = Letters::new();
    for letter in evidence.published {
        let header = |name: &str| String::from_utf8(letter.headers.get(name)?.to_vec()).ok();
        let number = |name: &str| header(name)?.parse::<i64>().ok();
        let partition = number("dlq-partition").and_then(|number| i32::try_from(number).ok());
        let place = header("dlq-topic").zip(partition).zip(number("dlq-offset"));
        let (Some(((topic, partition), offset)), Some(id)) = (place, header("dlq-id")) else {
            return Err(format!("a dead letter without its source: {letter:?}"));
        };
        let place = (topic, partition, offset);
        let Some(known) = payloads.get(&place) else {
            return Err(format!("a dead letter without a record, from {place:?}"));
        };
        let payload = String::from_utf8_lossy(letter.payload.as_deref().unwrap_or_default()).into_owned();
        if !known.contains(&payload) {
            return Err(format!("the dead letter of {place:?} has another payload"));
        }
        let code = header("dlq-error-code").unwrap_or_default();
        let of = letters.entry(place.clone()).or_default();
        let known = of.entry(payload).or_insert_with(|| Letter { id: id.clone(), code });
        if known.id != id {
            return Err(format!("{place:?} is dead-lettered under {} and {id}", known.id));
        }
    }
    let mut places = BTreeMap::new();
    for (place, of) in &letters {
        for letter in of.values() {
            if let Some(other) = places.insert(&letter.id, place)
                && other != place
            {
                return Err(format!("{place:?} and {other:?} share a dead letter's id"));
            }
        }
    }
    Ok(letters)
}

/// Checks that the records of a key are published in the order of their commits. A repeat of an earlier one may come at any time.
fn check_order_of_letters(evidence: &Evidence<'_>) -> Result<(), String> {
    let wanted = firsts(evidence.committed.iter().map(|record| &**record));
    let mut found = firsts(evidence.published.iter());
    for (key, wanted) in wanted {
        let found = found.remove(key).unwrap_or_default();
        if found != wanted {
            let ids = |records: &[Identity<'_>]| {
                let ids: Vec<String> = records.iter().map(|(id, _)| String::from_utf8_lossy(id).into_owned()).collect();
                ids.join(" ")
            };
            return Err(format!(
                "dead letters of the key {key:?} were committed as {} and published as {}",
                ids(&wanted),
                ids(&found)
            ));
        }
    }
    Ok(())
}

/// The records of each key without repeats, in their order.
fn firsts<'r>(records: impl Iterator<Item = &'r OutgoingRecord>) -> BTreeMap<&'r Option<Bytes>, Vec<Identity<'r>>> {
    let mut seen = BTreeSet::new();
    let mut firsts = BTreeMap::<_, Vec<_>>::new();
    for record in records {
        if seen.insert(identity(record)) {
            firsts.entry(&record.key).or_default().push(identity(record));
        }
    }
    firsts
}

/// A dead letter's id and its payload.
type Identity<'r> = (&'r [u8], Option<&'r [u8]>);

fn identity(record: &OutgoingRecord) -> Identity<'_> {
    (record.headers.get("dlq-id").unwrap_or_default(), record.payload.as_deref())
}
