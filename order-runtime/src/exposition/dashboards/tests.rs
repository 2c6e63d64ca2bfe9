//! Checks the generated dashboard and alerts against the metrics that the service exports.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use super::{alerts, grafana};
use crate::{engine::tests::rig::Rig, exposition::Sources};

/// Every series and label of a running engine.
async fn reported() -> (BTreeSet<String>, BTreeSet<String>, Rig) {
    let rig = Rig::start().await;
    rig.send("Added", "a", 1, "reject");
    rig.settled().await;
    rig.dead_letters(1).await;
    let sources = Sources {
        name: "things",
        version: "1.2.3",
        group: "group".to_owned(),
        registry: std::sync::Arc::clone(&rig.registry),
        metrics: std::sync::Arc::clone(&rig.metrics),
        operations: rig.engine.operations(),
    };
    let (mut names, mut labels) =
        (BTreeSet::new(), BTreeSet::from(["le", "instance", "error_type"].map(str::to_owned)));
    for family in sources.read() {
        let full = family.full_name();
        names.extend([format!("{full}_bucket"), full]);
        labels.extend(family.samples.iter().flat_map(|sample| &sample.labels).map(|(label, _)| (*label).to_owned()));
    }
    (names, labels, rig)
}

/// The names of series in an expression that the service does not export.
fn unknown(expression: &str, names: &BTreeSet<String>, labels: &BTreeSet<String>) -> Vec<String> {
    let word = Regex::new(r"\b(things|messaging|process)_[a-z_]+").expect("a valid pattern");
    let found = word.find_iter(expression).map(|found| found.as_str().to_owned());
    found.filter(|word| !names.contains(word) && !labels.contains(word)).collect()
}

/// Reduces an expression, in the subset of the language that alerts use: every well-formed part becomes the value `x`, so a
/// well-formed expression becomes `x`. A parser of the whole language would be the largest dependency of these tests.
fn reduced(expression: &str) -> String {
    const STEPS: [(&str, &str); 5] = [
        (r#"\{[a-z_]+(=|!=|=~|!~)"[^"]*"(,[a-z_]+(=|!=|=~|!~)"[^"]*")*\}"#, ""),
        // A series over a time range is not a value, and only these functions accept it.
        (r"\b[a-z_]+\[[0-9]+[smhd]\]", "range"),
        (r"\b(rate|increase|deriv|[a-z]+_over_time)\(range\)", "x"),
        (r"\b(things_[a-z_]+|[0-9.]+)\b", "x"),
        (r"\bx\[[0-9]+[smhd]:[0-9]+[smhd]\]", "range"),
    ];
    const TOGETHER: [(&str, &str); 3] = [
        (r"\b((rate|increase|deriv|[a-z]+_over_time)\(range\)|predict_linear\(range, x\))", "x"),
        (r"\b(sum|max|min|avg|absent)?\(x\)(\[[0-9]+[smhd]:[0-9]+[smhd]\])?", "x$2"),
        (r"\bx (\*|/|\+|-|==|!=|>|<|>=|<=|and|or|unless) x\b", "x"),
    ];
    let step = |text: String, (pattern, with): (&str, &str)| {
        Regex::new(pattern).expect("a valid pattern").replace_all(&text, with).into_owned()
    };
    let mut text = STEPS.into_iter().fold(expression.to_owned(), step);
    loop {
        let next = TOGETHER.into_iter().chain([STEPS[4]]).fold(text.clone(), step);
        if next == text {
            return text;
        }
        text = next;
    }
}

#[test]
fn a_broken_expression_is_not_reduced_to_a_value() {
    for right in [
        "things_live == 0",
        r#"sum(increase(things_dead_letters_total{reason="a",event=~"b|c"}[10m])) > 0.01 * max(things_live)"#,
        "sum(things_lag) > 1000 and deriv(sum(things_lag)[15m:1m]) > 0",
        "predict_linear(sum(things_lag)[15m:1m], 60) > 0",
    ] {
        assert_eq!(reduced(right), "x", "{right}");
    }
    for broken in [
        "things_live ==",
        "== things_live",
        "things_live things_ready",
        "sum(things_live",
        "sum(things_live))",
        "rate(things_total) > 0",
        "sum(things_total[5m]) > 0",
        "rate(things_total[5]) > 0",
        "rate(things_total[5m) > 0",
        r#"things_partitions{state="stopped} > 0"#,
        r#"things_partitions{"stopped"} > 0"#,
        "sums(things_live) > 0",
        "deriv(sum(things_lag)[15m]) > 0",
        "predict_linear(sum(things_lag)[15m:1m]) > 0",
    ] {
        assert_ne!(reduced(broken), "x", "{broken}");
    }
}

fn expressions(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| expressions(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn the_dashboard_shows_only_exported_series() {
    let (names, labels, rig) = reported().await;
    let dashboard = grafana("things", "Thing Service", &rig.registry);
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for expression in &found {
        assert_eq!(unknown(expression, &names, &labels), [""; 0], "{expression}");
        let depth = |open, close| expression.matches(open).count() == expression.matches(close).count();
        assert!(depth('(', ')') && depth('{', '}') && depth('[', ']'), "{expression}");
    }
    let events = dashboard["templating"]["list"][2]["query"].as_str().expect("the events");
    assert!(events.split(',').any(|event| event == "Added"), "{events}");
    let instances = &dashboard["templating"]["list"][1];
    assert_eq!(
        (&instances["query"], &instances["includeAll"], instances.get("allValue")),
        (&json!("label_values(things_build_info, instance)"), &json!(true), None),
        "\"All\" means the instances of this service, not those of every job"
    );
    for panel in dashboard["panels"].as_array().expect("panels") {
        let mut shown = Vec::new();
        expressions(panel, &mut shown);
        let units = ["_seconds", "_bytes", "rate("];
        let units = units.map(|unit| shown.iter().filter(|expression| expression.contains(unit)).count());
        assert!(units.iter().all(|count| [0, shown.len()].contains(count)), "an axis has one unit: {shown:?}");
    }
    let ids: BTreeSet<u64> =
        dashboard["panels"].as_array().expect("panels").iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().map_or(0, Vec::len), "each panel has an id of its own");
}

#[tokio::test]
async fn alerts_use_only_exported_series() {
    let (names, labels, rig) = reported().await;
    let text = alerts("things", &rig.registry);
    let rules = rules(&text);
    for (name, rule) in &rules {
        let expression = rule["expr"].as_str().expect("an expression");
        assert_eq!(unknown(expression, &names, &labels), [""; 0], "{name}: {expression}");
        assert_eq!(reduced(expression), "x", "{name}: {expression}");
        let lasts = rule["for"].as_str().expect("a duration");
        assert!(Regex::new("^[0-9]+[sm]$").is_ok_and(|form| form.is_match(lasts)), "{name}: {lasts}");
        assert!(rule["annotations"]["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{name}");
    }
    for name in [
        "ThingsNotLive",
        "ThingsRecordsLost",
        "ThingsLagStays",
        "ThingsUndecodableEvents",
        "ThingsDeadLettersAdded",
        "ThingsBreakerOpenAdded",
    ] {
        assert!(rules.contains_key(name), "{name} in {:?}", rules.keys());
    }
    let waits = rules["ThingsKeysWait"]["expr"].as_str().expect("an expression");
    assert_eq!(
        waits, "max(things_waiting_oldest_seconds) > 436",
        "twice the longest retry policy: three delays of a minute and a fifth, four attempts"
    );
}

/// The rules of a file by their names.
fn rules(text: &str) -> BTreeMap<String, Yaml> {
    let documents = YamlLoader::load_from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    let rules = documents[0]["groups"][0]["rules"].as_vec().expect("a list of rules");
    let named = |rule: &Yaml| (rule["alert"].as_str().expect("a name").to_owned(), rule.clone());
    rules.iter().map(named).collect()
}
