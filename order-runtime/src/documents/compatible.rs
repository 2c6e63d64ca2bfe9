//! Checks whether a later document keeps the promises of an earlier one.
//!
//! Events must still be handled and their data accepted, topics still be used, and routes still exist. A schema may accept more
//! than before, never less. A change that cannot be compared counts as broken, so that a person checks it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Schemas may refer to themselves; beyond this depth they count as equal.
const DEPTH: usize = 24;
/// Limits that may only fall, and limits that may only rise.
const FLOORS: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
const CEILINGS: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
/// Constraints that may only be removed.
const FORMS: [&str; 5] = ["pattern", "format", "multipleOf", "uniqueItems", "not"];

/// The promises that the later document breaks; none if the two are compatible.
pub(crate) fn broken(earlier: &Value, later: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let (events, now) = (definitions(earlier), definitions(later));
    for (name, schema) in events.iter().filter(|(name, _)| is_event(name)) {
        match now.get(name) {
            Some(new) => Comparison { earlier, later }.narrower(schema, new, name, 0, &mut broken),
            None => broken.push(format!("{name}: the event is no longer handled")),
        }
    }
    for (path, methods) in fields(&earlier["paths"]) {
        for method in fields(methods).keys() {
            if later["paths"][path].get(method).is_none() {
                broken.push(format!("{} {path}: the route no longer exists", method.to_uppercase()));
            }
        }
    }
    let addresses = |document: &Value| -> BTreeSet<String> {
        fields(&document["channels"])
            .values()
            .filter_map(|channel| channel["address"].as_str().map(str::to_owned))
            .collect()
    };
    for topic in addresses(earlier).difference(&addresses(later)) {
        broken.push(format!("{topic}: the topic is no longer used"));
    }
    broken
}

/// The named schemas of a document.
fn definitions(document: &Value) -> &Map<String, Value> {
    let own = &document["$defs"];
    fields(if own.is_object() { own } else { &document["components"]["schemas"] })
}

fn fields(value: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}

/// Whether a schema is that of an event, such as `ThingHappened.v1`.
fn is_event(name: &str) -> bool {
    name.rsplit_once(".v").is_some_and(|(_, version)| version.parse::<u32>().is_ok())
}

struct Comparison<'a> {
    earlier: &'a Value,
    later: &'a Value,
}

impl Comparison<'_> {
    /// Adds to `broken` where `new` accepts less than `old`.
    fn narrower(&self, old: &Value, new: &Value, path: &str, depth: usize, broken: &mut Vec<String>) {
        let (Some(old), Some(new)) = (resolved(old, self.earlier), resolved(new, self.later)) else {
            broken.push(format!("{path}: a reference does not resolve"));
            return;
        };
        // Equal schemas may still refer to schemas that differ.
        if depth > DEPTH || accepts_all(new) || old == new && !refers(old) {
            return;
        }
        if new == &Value::Bool(false) {
            broken.push(format!("{path}: nothing is accepted any more"));
            return;
        }
        self.alternatives(old, new, path, depth, broken);
        let (was, is) = (types(old), types(new));
        if let Some(is) = &is {
            let lost = match &was {
                Some(was) => was.iter().any(|kind| !(is.contains(kind) || kind == "integer" && is.contains("number"))),
                None => true,
            };
            if lost && !(was.is_none() && (old.get("const").is_some() || old.get("enum").is_some())) {
                broken.push(format!(
                    "{path}: must be {} now",
                    is.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
                ));
            }
        }
        if let Some(allowed) = values(new) {
            let same = values(old).is_some_and(|known| known.iter().all(|value| allowed.contains(value)));
            if !same {
                broken.push(format!("{path}: fewer values are accepted"));
            }
        }
        let needed = |schema: &Value| -> BTreeSet<String> {
            schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect()
        };
        for name in needed(new).difference(&needed(old)) {
            broken.push(format!("{path}.{name}: is required now"));
        }
        for (name, schema) in fields(&old["properties"]) {
            match new["properties"].get(name) {
                Some(later) => self.narrower(schema, later, &format!("{path}.{name}"), depth + 1, broken),
                None if new["additionalProperties"] == false => broken.push(format!("{path}.{name}: is refused now")),
                None => {}
            }
        }
        if new["additionalProperties"] == false && old["additionalProperties"] != false {
            broken.push(format!("{path}: unknown fields are refused now"));
        }
        if let Some(items) = new.get("items") {
            let any = Value::Bool(true);
            self.narrower(old.get("items").unwrap_or(&any), items, &format!("{path}[]"), depth + 1, broken);
        }
        limits(old, new, path, broken);
    }

    /// Each alternative of `old` must also be one of `new`.
    fn alternatives(&self, old: &Value, new: &Value, path: &str, depth: usize, broken: &mut Vec<String>) {
        let of = |schema: &Value| {
            ["anyOf", "oneOf"].iter().find_map(|kind| schema.get(*kind)).and_then(Value::as_array).cloned()
        };
        let Some(accepted) = of(new) else { return };
        let whole = || vec![old.clone()];
        for (number, alternative) in (1..).zip(of(old).unwrap_or_else(whole)) {
            let fits = accepted.iter().any(|candidate| {
                let mut problems = Vec::new();
                self.narrower(&alternative, candidate, path, depth + 1, &mut problems);
                problems.is_empty()
            });
            if !fits {
                broken.push(format!("{path}: alternative {number} is no longer accepted"));
            }
        }
    }
}

fn limits(old: &Value, new: &Value, path: &str, broken: &mut Vec<String>) {
    let number = |schema: &Value, name: &str| schema.get(name).and_then(Value::as_f64);
    for name in FLOORS {
        if let Some(floor) = number(new, name)
            && number(old, name).is_none_or(|was| was < floor)
        {
            broken.push(format!("{path}: {name} is {floor} now"));
        }
    }
    for name in CEILINGS {
        if let Some(ceiling) = number(new, name)
            && number(old, name).is_none_or(|was| was > ceiling)
        {
            broken.push(format!("{path}: {name} is {ceiling} now"));
        }
    }
    for name in FORMS {
        if let Some(form) = new.get(name)
            && old.get(name) != Some(form)
        {
            broken.push(format!("{path}: {name} is {form} now"));
        }
    }
}

/// The schema that a reference refers to.
fn resolved<'a>(schema: &'a Value, document: &'a Value) -> Option<&'a Value> {
    let mut schema = schema;
    // A chain of references is short; the limit ends a circular one.
    for _ in 0..8 {
        match schema.get("$ref").and_then(Value::as_str) {
            Some(target) => schema = document.pointer(target.strip_prefix('#')?)?,
            None => return Some(schema),
        }
    }
    None
}

fn accepts_all(schema: &Value) -> bool {
    schema == &Value::Bool(true) || fields(schema).is_empty() && schema.is_object()
}

fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => fields.contains_key("$ref") || fields.values().any(refers),
        Value::Array(values) => values.iter().any(refers),
        _ => false,
    }
}

fn types(schema: &Value) -> Option<BTreeSet<String>> {
    match schema.get("type")? {
        Value::String(one) => Some(BTreeSet::from([one.clone()])),
        Value::Array(several) => Some(several.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect()),
        _ => None,
    }
}

fn values(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema.get("enum").and_then(Value::as_array)) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(several)) => Some(several.iter().collect()),
        (None, None) => None,
    }
}
