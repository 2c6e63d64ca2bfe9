//! The dashboard, as Grafana imports it.

use serde_json::{Value, json};

use super::panels::{Panel, ROWS};
use crate::registry::Registry;

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
const HEIGHT: u64 = 8;

/// The dashboard as JSON.
pub(crate) fn grafana(name: &str, title: &str, registry: &Registry) -> Value {
    let mut events: Vec<&str> = registry.processors().iter().map(|entry| entry.event).collect();
    events.dedup();
    let mut panels = Vec::new();
    let mut top = 0;
    for (row, graphs) in ROWS {
        panels.push(json!({
            "type": "row", "title": row, "collapsed": false, "panels": [],
            "id": panels.len() + 1, "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }));
        top += 1;
        let width = COLUMNS / 3;
        let count = graphs.len() as u64;
        for (place, graph) in (0_u64..).zip(graphs) {
            let at = json!({"x": place % 3 * width, "y": top + place / 3 * HEIGHT, "w": width, "h": HEIGHT});
            panels.push(panel(name, graph, panels.len() + 1, &at));
        }
        top += count.div_ceil(3) * HEIGHT;
    }
    let variable = |name: &str, label: &str, values: &[&str]| {
        json!({
            "type": "custom", "name": name, "label": label, "multi": true, "includeAll": true, "allValue": ".*",
            "query": values.join(","),
            "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        })
    };
    json!({
        "uid": format!("{name}-service"),
        "title": title,
        "tags": ["kafka", name],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"},
            {
                // Without an `allValue`, "All" means the instances that the query finds; every job has `process_` metrics.
                "type": "query", "name": "instance", "label": "Instance", "multi": true, "includeAll": true,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "query": format!("label_values({name}_build_info, instance)"), "refresh": 2,
                "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
            },
            variable("event", "Event", &events),
        ]},
        "panels": panels,
    })
}

fn panel(name: &str, graph: &Panel, id: usize, at: &Value) -> Value {
    let datasource = json!({"type": "prometheus", "uid": "${datasource}"});
    let targets: Vec<Value> = ('A'..)
        .zip(graph.targets)
        .map(|(letter, (expression, legend))| {
            json!({
                "refId": letter.to_string(), "expr": expression.replace("NAME", name), "legendFormat": legend, "datasource": datasource,
            })
        })
        .collect();
    json!({
        "type": "timeseries", "id": id, "title": graph.title, "description": graph.about, "gridPos": at,
        "datasource": datasource,
        "fieldConfig": {"defaults": {"unit": graph.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    })
}
