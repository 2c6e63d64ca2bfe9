//! What must have become of every event.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    domain::Ledger,
    scenario::{Act, Event, Scenario},
};
use crate::broker::OutgoingRecord;

/// A record of the log, by partition and offset.
pub(super) type Produced = BTreeMap<(i32, i64), Event>;

/// Compares what is in the store and in the dead-letter topic with what was produced.
pub(super) fn check(
    scenario: &Scenario,
    produced: &Produced,
    ledgers: &BTreeMap<String, Ledger>,
    published: &[OutgoingRecord],
) -> Result<(), String> {
    let letters = dead_letters(produced, published)?;
    let mut firsts: BTreeMap<(u64, u32), (i32, i64)> = BTreeMap::new();
    for (place, event) in produced {
        firsts.entry((event.key, event.n)).or_insert(*place);
    }
    let mut touched = BTreeMap::<u64, u32>::new();
    let mut applied = BTreeSet::new();
    for key in 0..scenario.keys {
        let Some(ledger) = ledgers.get(&key.to_string()) else { continue };
        if let Some(pair) = ledger.applied.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("key {key}: events were applied in this order: {pair:?}"));
        }
        applied.extend(ledger.applied.iter().map(|n| (key, *n)));
    }
    for ((key, n), place) in &firsts {
        let event = produced[place];
        let letter = letters.get(place);
        let (counts, is_dead) = (applied.contains(&(*key, *n)), letter.is_some());
        // Whoever is alone while processes end for other reasons is blamed for it.
        let blamed = letter.is_some_and(|letter| letter.code == "killed_process");
        let right = match event.act {
            _ if blamed => !counts,
            Act::Succeed | Act::Slow(_) => counts && !is_dead,
            // Nothing but an outage went wrong, and for that nobody pays with an attempt.
            Act::Depend if scenario.is_calm_but_for_outages() => counts && !is_dead,
            // Its budget may have ended by time as well, where the store was away for long.
            Act::Depend | Act::Fail(_) | Act::Panic | Act::Hang => counts != is_dead,
            Act::Reject | Act::Unknown | Act::Undecodable => !counts && is_dead,
            Act::Skip => !counts && !is_dead,
        };
        if !right {
            return Err(format!("{event:?} at {place:?}: applied: {counts}, dead-lettered: {is_dead}"));
        }
        if counts && let Some(also) = event.also {
            *touched.entry(also).or_default() += 1;
        }
    }
    for key in 0..scenario.keys {
        let found = ledgers.get(&key.to_string()).map_or(0, |ledger| ledger.touched);
        let expected = touched.get(&key).copied().unwrap_or_default();
        if found != expected {
            return Err(format!("entity {key} was touched {found} times instead of {expected}"));
        }
    }
    // Of a repeat nothing may be seen, but for one that is not even an event and so has no id.
    for (place, event) in produced {
        let is_repeat = firsts.get(&(event.key, event.n)) != Some(place);
        if is_repeat && letters.contains_key(place) != (event.act == Act::Undecodable) {
            return Err(format!("the repeat of {event:?} at {place:?} is not handled as one"));
        }
    }
    Ok(())
}

/// A dead letter.
struct Letter {
    id: String,
    code: String,
}

/// The dead letters by the places that they came from: one id a place, and one place an id.
fn dead_letters(produced: &Produced, published: &[OutgoingRecord]) -> Result<BTreeMap<(i32, i64), Letter>, String> {
    let mut letters = BTreeMap::<_, Letter>::new();
    for letter in published {
        let header = |name: &str| String::from_utf8(letter.headers.get(name)?.to_vec()).ok();
        let place = header("dlq-partition").and_then(|text| text.parse().ok());
        let place = place.zip(header("dlq-offset").and_then(|text| text.parse().ok()));
        let (Some(place), Some(id)) = (place, header("dlq-id")) else {
            return Err(format!("a dead letter that does not say where it comes from: {letter:?}"));
        };
        let Some(event) = produced.get(&place) else {
            return Err(format!("a dead letter of nothing, from {place:?}"));
        };
        if letter.payload.as_deref() != Some(event.payload().as_bytes()) {
            return Err(format!("the dead letter of {place:?} has another payload"));
        }
        let code = header("dlq-error-code").unwrap_or_default();
        let known = letters.entry(place).or_insert_with(|| Letter { id: id.clone(), code });
        if known.id != id {
            return Err(format!("{place:?} is dead-lettered under {} and {id}", known.id));
        }
    }
    let ids: BTreeSet<&String> = letters.values().map(|letter| &letter.id).collect();
    if ids.len() != letters.len() {
        return Err("two records share a dead letter's id".to_owned());
    }
    Ok(letters)
}
