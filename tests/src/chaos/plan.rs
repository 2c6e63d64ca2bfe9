//! The events to produce, with their expected outcomes.

use std::collections::{HashMap, VecDeque};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

/// The parameters of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// The number of distinct events.
    pub events: u32,
    /// The number of keys.
    pub keys: u32,
    /// The seed; the same seed gives the same plan.
    pub seed: u64,
    /// Whether some events hang or panic until they are dead-lettered, and the store refuses the data of others.
    pub hostile: bool,
    /// The number of events that end their process. Each costs several restarts until it is dead-lettered.
    pub killers: usize,
}

/// The expected outcome of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    /// Its entry is in its ledger, once.
    Applied,
    /// It is dead-lettered with this reason.
    Dead(&'static str),
}

/// One event.
#[derive(Debug)]
pub struct Planned {
    /// Its id; `None` for a record that is not an event, which is identified by its place.
    pub id: Option<String>,
    /// Its key, which is its ledger.
    pub key: String,
    /// Its number among the events of the key, from 1.
    pub entry: u32,
    /// The expected outcome.
    pub expected: Expected,
    /// The number of attempts that fail first.
    pub fails: u32,
    /// The error code of its dead letter, if the runtime itself sets it.
    pub code: Option<&'static str>,
    /// The record's payload.
    pub payload: Vec<u8>,
}

/// Events, and the order in which they are produced.
#[derive(Debug)]
pub struct Plan {
    /// The events.
    pub events: Vec<Planned>,
    /// Their indices in the order of production; a repeated index is a duplicate.
    pub order: Vec<usize>,
    by_payload: HashMap<Vec<u8>, usize>,
}

/// The error code of an event that ends its process.
pub(super) const KILLED: &str = "killed_process";
/// The error code of an event whose data the store refuses.
pub(super) const REFUSED: &str = "store_refused";

/// Events per 1,000 that are bad in one of four ways, fail before they succeed, take some time, or are duplicated.
const BAD: u32 = 20;
const FAILING: u32 = 10;
const SLOW: u32 = 5;
const DUPLICATED: u32 = 20;
/// Hostile events take a processor's whole timeout, so there are few.
const HOSTILE: u32 = 2;
/// Events per 10,000 whose data the store refuses. Each may cause a whole batch to run event by event, so there are few.
const UNSTORABLE: u32 = 3;
/// One of this number of events after a failing event has the same key, so that events wait before and behind failing ones.
const FOLLOWS: u32 = 3;

impl Plan {
    /// Creates the plan of a recipe.
    pub fn new(recipe: Recipe) -> Self {
        let mut random = StdRng::seed_from_u64(recipe.seed);
        let mut last_entry: HashMap<u32, u32> = HashMap::new();
        let mut plan = Self { events: Vec::new(), order: Vec::new(), by_payload: HashMap::new() };
        let mut again: VecDeque<(usize, usize)> = VecDeque::new();
        let mut killers = (1..=recipe.killers).map(|number| recipe.events as usize * number / (recipe.killers + 1));
        let mut next_killer = killers.next();
        let mut in_trouble = None;
        for index in 0..recipe.events as usize {
            let follows = in_trouble.filter(|_| random.random_ratio(1, FOLLOWS));
            let key = follows.unwrap_or_else(|| random.random_range(0..recipe.keys));
            let entry = last_entry.entry(key).or_default();
            *entry += 1;
            let name = format!("ledger-{key:05}");
            let event = if next_killer == Some(index) {
                next_killer = killers.next();
                killer(&mut random, index, &name, *entry)
            } else {
                event(&mut random, index, &name, *entry, recipe.hostile)
            };
            if event.code.is_some() || event.fails > 0 {
                in_trouble = Some(key);
            }
            plan.by_payload.insert(event.payload.clone(), index);
            plan.order.push(index);
            if event.id.is_some() && random.random_range(0..1000) < DUPLICATED {
                again.push_back((index + random.random_range(0..200), index));
            }
            plan.events.push(event);
            while again.front().is_some_and(|(due, _)| *due <= index) {
                plan.order.extend(again.pop_front().map(|(_, index)| index));
            }
        }
        plan.order.extend(again.into_iter().map(|(_, index)| index));
        plan
    }

    /// The event that has this payload.
    pub fn of_payload(&self, payload: &[u8]) -> Option<usize> {
        self.by_payload.get(payload).copied()
    }

    /// The number of duplicates.
    pub fn duplicates(&self) -> usize {
        self.order.len() - self.events.len()
    }
}

/// An event that ends its process, at once or after the store has recorded it as running.
fn killer(random: &mut StdRng, index: usize, key: &str, entry: u32) -> Planned {
    let id = format!("event-{index}");
    let script =
        if index.is_multiple_of(2) { json!("abort") } else { json!({"abortAfter": random.random_range(60..300)}) };
    let payload = scripted(&id, "EntryRecorded", key, entry, &script).into_bytes();
    Planned {
        id: Some(id),
        key: key.to_owned(),
        entry,
        expected: Expected::Dead("panic"),
        fails: 0,
        code: Some(KILLED),
        payload,
    }
}

fn event(random: &mut StdRng, index: usize, key: &str, entry: u32, hostile: bool) -> Planned {
    let id = format!("event-{index}");
    let script = |name: &str, script: Value| scripted(&id, name, key, entry, &script);
    let mut fails = 0;
    let unstorable = hostile && random.random_range(0..10_000) < UNSTORABLE;
    let die = random.random_range(0..1000);
    let (expected, payload) = match die {
        _ if unstorable => (Expected::Dead("rejected"), script("EntryRecorded", json!("unstorable"))),
        ..BAD => match die % 4 {
            0 => (Expected::Dead("rejected"), script("EntryRecorded", json!("refuse"))),
            1 => {
                (Expected::Dead("invalid"), envelope(&id, "EntryRecorded", &json!({"ledgerId": key, "entry": "many"})))
            }
            2 => (Expected::Dead("unknown_event"), script("EntryForgotten", json!("apply"))),
            _ => (Expected::Dead("undecodable"), format!("{id} is not JSON")),
        },
        _ if die < BAD + FAILING => {
            fails = random.random_range(1..=3);
            (Expected::Applied, script("EntryRecorded", json!({"fail": fails})))
        }
        _ if die < BAD + FAILING + SLOW => {
            let milliseconds = random.random_range(1..150);
            (Expected::Applied, script("EntryRecorded", json!({"wait": milliseconds})))
        }
        _ if hostile && die < BAD + FAILING + SLOW + HOSTILE => match die % 2 {
            0 => (Expected::Dead("timeout"), script("EntryHurried", json!("hang"))),
            _ => (Expected::Dead("panic"), script("EntryHurried", json!("panic"))),
        },
        _ => (Expected::Applied, script("EntryRecorded", json!("apply"))),
    };
    let id = (expected != Expected::Dead("undecodable")).then_some(id);
    let code = unstorable.then_some(REFUSED);
    Planned { id, key: key.to_owned(), entry, expected, fails, code, payload: payload.into_bytes() }
}

fn scripted(id: &str, name: &str, key: &str, entry: u32, script: &Value) -> String {
    envelope(id, name, &json!({"ledgerId": key, "entry": entry, "script": script}))
}

fn envelope(id: &str, name: &str, data: &Value) -> String {
    crate::events::event_with_id(id, name, data).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Expected, KILLED, Plan, REFUSED, Recipe};

    #[test]
    fn a_plan_has_something_of_everything() {
        let plan = Plan::new(Recipe { events: 20_000, keys: 100, seed: 1, hostile: true, killers: 3 });
        let count = |test: &dyn Fn(&super::Planned) -> bool| plan.events.iter().filter(|event| test(event)).count();
        assert!((350..500).contains(&count(&|event| event.expected != Expected::Applied)), "2 % are bad");
        assert!((150..250).contains(&count(&|event| event.fails > 0)), "1 % fail at first");
        for reason in ["rejected", "invalid", "unknown_event", "undecodable", "timeout", "panic"] {
            assert!(count(&|event| event.expected == Expected::Dead(reason)) > 5, "{reason}");
        }
        assert_eq!(count(&|event| event.code == Some(KILLED)), 3);
        assert!(count(&|event| event.code == Some(REFUSED)) > 1);
        assert!((300..500).contains(&plan.duplicates()));
        assert_eq!(plan.of_payload(&plan.events[7].payload), Some(7));
    }
}
