//! Alert rules, as a file for `rule_files` of Prometheus.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use crate::{engine::retry, registry::Registry};

/// One rule; `NAME` is replaced with the domain's name, `EVENT` with the name of an event.
struct Rule {
    /// The name of the alert, after the domain's name.
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
        summary: "{{ $labels.instance }} makes no progress",
        description: "GET /health/live gives the reason; restart the instance.",
        ..CRITICAL
    },
    Rule {
        name: "NotReady",
        expression: "NAME_ready == 0",
        minutes: 5,
        summary: "{{ $labels.instance }} is not ready",
        description: "GET /health/ready gives the reason: store, broker, a stopped partition, an open circuit breaker.",
        ..WARNING
    },
    Rule {
        name: "PartitionStopped",
        expression: r#"NAME_partitions{state="stopped"} > 0"#,
        minutes: 1,
        summary: "{{ $labels.instance }}: {{ $value }} partitions are stopped",
        description: "GET /partitions gives the reason; they continue only after an operator acts.",
        ..CRITICAL
    },
    Rule {
        name: "StoreAway",
        expression: r#"NAME_partitions{state="store_away"} > 0"#,
        minutes: 2,
        summary: "{{ $labels.instance }}: the store does not answer",
        description: "Events wait in Kafka; nothing is lost. Check the store.",
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
        summary: "the lag is {{ $value }} records and grows",
        description: "More events arrive than are handled: check the duration of processors and of the store's commits.",
        ..WARNING
    },
    Rule {
        name: "LagStays",
        // In a healthy service, the records of about ten seconds are always under way, whatever the load.
        expression: "min_over_time(sum(NAME_consumer_lag)[30m:1m]) > 1000 \
                     and min_over_time(sum(NAME_consumer_lag)[30m:1m]) > 10 * sum(rate(NAME_events_total[30m])) \
                     and predict_linear(sum(NAME_consumer_lag)[30m:1m], 14400) > 0",
        minutes: 5,
        summary: "the lag has been at least {{ $value }} records for half an hour and will not end within four hours",
        description: "Events arrive as fast as they are handled, or none are handled. GET /partitions shows which partitions are behind.",
        ..WARNING
    },
    Rule {
        name: "RecordsLost",
        expression: "increase(NAME_dropped_offsets_total[1h]) > 0",
        summary: "{{ $labels.instance }}: Kafka deleted records before they were handled",
        description: "The service was further behind than the topic's retention. Its log names the offsets.",
        ..CRITICAL
    },
    Rule {
        name: "OutboxStuck",
        expression: "min_over_time(NAME_outbox_records[10m]) > 0",
        minutes: 5,
        summary: "{{ $labels.instance }}: {{ $value }} dead letters and emitted events are not published",
        description: "The broker refuses them or does not answer; at 10,000 records partitions pause.",
        ..WARNING
    },
    Rule {
        name: "PartitionsLost",
        expression: r#"increase(NAME_rebalances_total{kind="lost"}[15m]) > 3"#,
        summary: "{{ $labels.instance }} loses its partitions repeatedly",
        description: "It does not poll in time, or the group's members do not reach their broker.",
        ..WARNING
    },
    Rule {
        name: "UnknownEvents",
        expression: r#"sum(increase(NAME_dead_letters_total{reason="unknown_event"}[10m])) > 0"#,
        summary: "events arrive that no processor handles",
        description: "They become dead letters; dlq list --reason unknown_event lists them.",
        ..WARNING
    },
    Rule {
        name: "UndecodableEvents",
        expression: r#"sum(rate(NAME_dead_letters_total{reason="undecodable"}[10m])) * 60 > 1"#,
        minutes: 2,
        summary: "{{ $value }} records a minute cannot be decoded",
        description: "A producer sends records that are not events. They become dead letters; dlq list --reason undecodable lists them.",
        ..WARNING
    },
];

/// Fires if a key waits for longer than `SECONDS`, twice the longest retry policy. In a busy service some key always waits, but
/// none of them for long.
const KEYS_WAIT: Rule = Rule {
    name: "KeysWait",
    expression: "max(NAME_waiting_oldest_seconds) > SECONDS",
    minutes: 1,
    summary: "a key has waited for {{ $value }} seconds, longer than any retry policy",
    description: "It is held, or waits behind one that is held; waiting list gives the reason.",
    ..WARNING
};

/// Rules of each event.
const OF_EVENT: [Rule; 2] = [
    Rule {
        name: "DeadLetters",
        expression: r#"sum(increase(NAME_events_total{event="EVENT",outcome="dead_lettered"}[10m])) > 0.01 * sum(increase(NAME_events_total{event="EVENT",outcome=~"ok|dead_lettered"}[10m])) > 0"#,
        summary: "more than 1 % of EVENT became dead letters within ten minutes",
        description: "dlq list gives the reasons; replay them after the cause is fixed.",
        ..WARNING
    },
    Rule {
        name: "BreakerOpen",
        expression: r#"max(NAME_breaker_open{event="EVENT"}) == 1"#,
        minutes: 5,
        summary: "most EVENT events fail with the same error",
        description: "A dependency of its processor is unavailable; its events wait without losing attempts.",
        ..WARNING
    },
];

/// The rules as YAML.
pub(crate) fn alerts(name: &str, registry: &Registry) -> String {
    let mut out = format!("groups:\n  - name: {name}\n    rules:\n");
    // A JSON string is also a YAML string.
    let text = |text: &str| Value::from(text).to_string();
    for rule in filled(name, registry) {
        // Writing to a string does not fail.
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

/// The rules as JSON, which is also YAML.
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

/// A rule with the names of its service and, for a rule of an event, of its event.
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

/// The duration in seconds, rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn upper_camel(name: &str) -> String {
    let words = name.split(['_', '-']);
    words.map(|word| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default()).collect()
}
