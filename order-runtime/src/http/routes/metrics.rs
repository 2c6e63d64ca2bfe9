//! `GET /metrics`: the counters in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::Write;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::http::App;

/// `GET /metrics`. Labels are events of the registry, topics and partitions: bounded, and nobody's data.
pub(in crate::http) async fn prometheus(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text(&app)).into_response()
}

fn text(app: &App) -> String {
    let name = app.dispatcher.name;
    let stats = app.operations.stats();
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        // Writing to a text does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    family(
        "messaging_client_consumed_messages_total",
        "counter",
        "Records taken from Kafka.",
        &[(r#"{messaging_system="kafka"}"#.to_owned(), stats.consumed)],
    );
    let mut events = Vec::new();
    for (entry, counts) in app.registry.processors().iter().zip(app.operations.processors()) {
        for (outcome, count) in
            [("ok", counts.ok), ("dead_lettered", counts.dead_lettered), ("retried", counts.retried)]
        {
            events.push((
                format!(r#"{{event="{}",version="{}",outcome="{outcome}"}}"#, entry.event, entry.version),
                count,
            ));
        }
    }
    family(&format!("{name}_events_total"), "counter", "Events by what became of an attempt.", &events);
    let partitions = app.operations.partitions();
    let by_partition = |value: &dyn Fn(&crate::engine::observe::PartitionView) -> Option<u64>| {
        let sample = |view: &crate::engine::observe::PartitionView| {
            let labels = format!(r#"{{topic="{}",partition="{}"}}"#, escaped(&view.topic), view.partition);
            value(view).map(|value| (labels, value))
        };
        partitions.iter().filter_map(sample).collect::<Vec<_>>()
    };
    let lag = by_partition(&|view| view.lag);
    family(&format!("{name}_consumer_lag"), "gauge", "Records between a partition's position and its end.", &lag);
    let waiting = by_partition(&|view| Some(view.waiting_keys as u64));
    family(&format!("{name}_waiting_keys"), "gauge", "Keys whose events wait.", &waiting);
    out
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
