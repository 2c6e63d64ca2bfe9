//! Alert rules, as a file for `rule_files` of Prometheus.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use crate::{engine::retry, registry::Registry};

/// One rule; `NAME` stands for the domain's name, `EVENT` for that of an event.
struct Rule {
    /// Stands behind the domain's name.
    name: &'static str,
    expression: &'static str,
    /// For how many minutes it must hold.
    minutes: u64,
    severity: &'static str,
    summary: &'static str,
    description: &'static str,
}

const WARNING: Rule = Rule { name: "", expression: "", minutes: 0, severity: "warning", summary: "", description: "" };
const CRITICAL: Rule = Rule { severity: "critical", ..WARNING };

/// Rules of the service as a whole.
const GENERAL: [Rule; 13] = [
    Rule {
        name: "Absent",
        expression: "absent(NAME_build_info)",
        minutes: 5,
        summary: "no instance is scraped",
        description: "No instance answers to GET /metrics.",
        ..CRITICAL
    },
    Rule {
        name: "NotLive",
        expression: "NAME_live == 0",
        minutes: 1,
        summary: "{{ $labels.instance }} does not move",
        description: "GET /health/live names the reason; a restart is due.",
        ..CRITICAL
    },
    Rule {
        name: "NotReady",
        expression: "NAME_ready == 0",
        minutes: 5,
        summary: "{{ $labels.instance }} is not ready",
        description: "GET /health/ready names the reason: store, broker, a stopped partition, an open circuit breaker.",
        ..WARNING
    },
    Rule {
        name: "PartitionStopped",
        expression: r#"NAME_partitions{state="stopped"} > 0"#,
        minutes: 1,
        summary: "{{ $labels.instance }}: {{ $value }} partitions are stopped",
        description: "GET /partitions says why; they go on when somebody acts.",
        ..CRITICAL
    },
    Rule {
        name: "StoreAway",
        expression: r#"NAME_partitions{state="store_away"} > 0"#,
        minutes: 2,
        summary: "{{ $labels.instance }}: the store does not answer",
        description: "Events wait in Kafka; nothing is lost. Look at the store.",
        ..CRITICAL
    },
    Rule {
        name: "StoreCommitsFail",
        expression: "rate(NAME_store_commit_failures_total[5m]) > 0",
        minutes: 5,
        summary: "{{ $labels.instance }}: transactions of the store fail",
        description: "The log names the store's error.",
        ..WARNING
    },
    Rule {
        name: "LagGrows",
        expression: "sum(NAME_consumer_lag) > 1000 and deriv(sum(NAME_consumer_lag)[15m:1m]) > 0",
        minutes: 15,
        summary: "{{ $value }} records are not taken yet, and more every minute",
        description: "More comes than is handled: look at the duration of processors and of the store's commits.",
        ..WARNING
    },
    Rule {
        name: "LagStays",
        // As many records as ten seconds bring are on their way in a healthy service, however busy it is.
        expression: "min_over_time(sum(NAME_consumer_lag)[30m:1m]) > 1000 \
                     and min_over_time(sum(NAME_consumer_lag)[30m:1m]) > 10 * sum(rate(NAME_events_total[30m])) \
                     and predict_linear(sum(NAME_consumer_lag)[30m:1m], 14400) > 0",
        minutes: 5,
        summary: "{{ $value }} records or more are not taken for half an hour, and four hours more do not end that",
        description: "As much comes as is handled, or nothing is handled. GET /partitions says which partitions are behind.",
        ..WARNING
    },
    Rule {
        name: "RecordsLost",
        expression: "increase(NAME_dropped_offsets_total[1h]) > 0",
        summary: "{{ $labels.instance }}: the log has dropped records before they were handled",
        description: "The topic's retention is shorter than the service was behind. The log says which offsets.",
        ..CRITICAL
    },
    Rule {
        name: "OutboxStuck",
        expression: "min_over_time(NAME_outbox_records[10m]) > 0",
        minutes: 5,
        summary: "{{ $labels.instance }}: {{ $value }} dead letters and emitted events do not leave",
        description: "The broker refuses them or does not answer; at 10,000 records partitions pause.",
        ..WARNING
    },
    Rule {
        name: "PartitionsLost",
        expression: r#"increase(NAME_rebalances_total{kind="lost"}[15m]) > 3"#,
        summary: "{{ $labels.instance }} loses its partitions again and again",
        description: "It does not poll in time, or the group's members do not reach their broker.",
        ..WARNING
    },
    Rule {
        name: "UnknownEvents",
        expression: r#"sum(increase(NAME_dead_letters_total{reason="unknown_event"}[10m])) > 0"#,
        summary: "events come that no processor is declared for",
        description: "They are dead-lettered; dlq list --reason unknown_event names them.",
        ..WARNING
    },
    Rule {
        name: "UndecodableEvents",
        expression: r#"sum(rate(NAME_dead_letters_total{reason="undecodable"}[10m])) * 60 > 1"#,
        minutes: 2,
        summary: "{{ $value }} records a minute cannot be decoded",
        description: "A producer writes something else than events. They are dead-lettered; dlq list --reason undecodable names them.",
        ..WARNING
    },
];

/// Names a key that waits for longer than twice the most patient retry policy, which `SECONDS` stands for. Where keys come and
/// go, some key always waits, and none of them for long.
const KEYS_WAIT: Rule = Rule {
    name: "KeysWait",
    expression: "max(NAME_waiting_oldest_seconds) > SECONDS",
    minutes: 1,
    summary: "a key waits for {{ $value }} seconds, longer than any retry policy",
    description: "It is held, or waits behind what is; waiting list says why.",
    ..WARNING
};

/// Rules of each event.
const OF_EVENT: [Rule; 2] = [
    Rule {
        name: "DeadLetters",
        expression: r#"sum(increase(NAME_events_total{event="EVENT",outcome="dead_lettered"}[10m])) > 0.01 * sum(increase(NAME_events_total{event="EVENT",outcome=~"ok|dead_lettered"}[10m])) > 0"#,
        summary: "more than 1 % of EVENT became dead letters within ten minutes",
        description: "dlq list says why; they can be replayed when the cause is gone.",
        ..WARNING
    },
    Rule {
        name: "BreakerOpen",
        expression: r#"max(NAME_breaker_open{event="EVENT"}) == 1"#,
        minutes: 5,
        summary: "most events of EVENT fail alike",
        description: "What its processor needs is away; its events wait without losing attempts.",
        ..WARNING
    },
];

/// The rules as YAML.
pub(crate) fn alerts(name: &str, registry: &Registry) -> String {
    let mut out = format!("groups:\n  - name: {name}\n    rules:\n");
    // A text of JSON is one of YAML.
    let text = |text: &str| Value::from(text).to_string();
    for rule in filled(name, registry) {
        // Writing to a text does not fail.
        let _ = write!(
            out,
            "      - alert: {}
        expr: {}
        for: {}
        labels:
          severity: {}
        annotations:
          summary: {}
          description: {}
",
            rule.alert,
            text(&rule.expr),
            rule.lasts,
            rule.severity,
            text(&rule.summary),
            text(&rule.description),
        );
    }
    out
}

/// The same as JSON, which is YAML too.
pub(crate) fn alerts_json(name: &str, registry: &Registry) -> Value {
    let rule = |rule: Filled| {
        json!({
            "alert": rule.alert,
            "expr": rule.expr,
            "for": rule.lasts,
            "labels": {"severity": rule.severity},
            "annotations": {"summary": rule.summary, "description": rule.description},
        })
    };
    let rules: Vec<Value> = filled(name, registry).into_iter().map(rule).collect();
    json!({"groups": [{"name": name, "rules": rules}]})
}

/// A rule for one service, and for one event where it is about events.
struct Filled {
    alert: String,
    expr: String,
    lasts: String,
    severity: &'static str,
    summary: String,
    description: String,
}

fn filled(name: &str, registry: &Registry) -> Vec<Filled> {
    let longest = registry.processors().iter().map(|entry| retry::span(&entry.policy)).max().unwrap_or_default();
    let patience = whole_seconds(longest * 2).to_string();
    let fill = |rule: &Rule, event: &str| {
        let fill = |text: &str| text.replace("NAME", name).replace("EVENT", event).replace("SECONDS", &patience);
        Filled {
            alert: format!("{}{}{event}", upper_camel(name), rule.name),
            expr: fill(rule.expression),
            lasts: format!("{}m", rule.minutes),
            severity: rule.severity,
            summary: fill(rule.summary),
            description: fill(rule.description),
        }
    };
    let mut rules: Vec<Filled> = GENERAL.iter().chain([&KEYS_WAIT]).map(|rule| fill(rule, "")).collect();
    let mut events: Vec<&str> = registry.processors().iter().map(|entry| entry.event).collect();
    events.dedup();
    for event in events {
        rules.extend(OF_EVENT.iter().map(|rule| fill(rule, event)));
    }
    rules
}

/// Rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn upper_camel(name: &str) -> String {
    let words = name.split(['_', '-']);
    words.map(|word| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default()).collect()
}
