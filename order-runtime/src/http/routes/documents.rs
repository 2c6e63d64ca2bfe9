//! `GET /openapi.json`, `/asyncapi.json`, and `/docs`, a page that shows both.

use std::fmt::Write as _;

use axum::{Json, extract::State, response::Html};
use serde_json::Value;

use crate::{
    documents::{self, Declared, Kind},
    http::{self, App},
};

fn document(app: &App, kind: Kind) -> Value {
    let (dispatcher, config, registry) = (&app.dispatcher, &app.config, &app.registry);
    documents::document(kind, &Declared { dispatcher, config, registry, routes: http::routes })
}

/// `GET /openapi.json`.
pub(in crate::http) async fn openapi(State(app): State<App>) -> Json<Value> {
    Json(document(&app, Kind::OpenApi))
}

/// `GET /asyncapi.json`.
pub(in crate::http) async fn asyncapi(State(app): State<App>) -> Json<Value> {
    Json(document(&app, Kind::AsyncApi))
}

/// `GET /docs`.
pub(in crate::http) async fn page(State(app): State<App>) -> Html<String> {
    let name = escaped(&app.config.app.name);
    let mut body = String::new();
    // Writing to a string does not fail.
    let mut line = |text: String| {
        let _ = writeln!(body, "{text}");
    };
    line(format!("<h1>{name} {}</h1>", escaped(app.dispatcher.version)));
    line(
        "<p>For programs: <a href=\"/openapi.json\">OpenAPI</a>, <a href=\"/asyncapi.json\">AsyncAPI</a>.</p>"
            .to_owned(),
    );
    line("<h2>Routes</h2><table><thead><tr><th>Route<th>What it does</tr></thead><tbody>".to_owned());
    let openapi = document(&app, Kind::OpenApi);
    for (path, methods) in openapi["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let audience = match operation["security"].as_array().map_or(0, Vec::len) {
                0 => "",
                1 => " For administrators.",
                _ => " For viewers.",
            };
            let summary = escaped(operation["summary"].as_str().unwrap_or_default());
            line(format!(
                "<tr><td><code>{} {}</code><td>{summary}{audience}</tr>",
                method.to_uppercase(),
                escaped(path)
            ));
        }
    }
    line("</tbody></table><h2>Events</h2>".to_owned());
    let asyncapi = document(&app, Kind::AsyncApi);
    for entry in app.registry.processors() {
        line(format!("<h3>{}, version {}</h3><p>{}</p>", entry.event, entry.version, escaped(entry.summary)));
        if let Some(schema) = entry.input.and_then(|input| asyncapi["components"]["schemas"].get(input)) {
            line(format!("<pre>{}</pre>", escaped(&format!("{schema:#}"))));
        }
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{name}</title></head><body>\n{body}</body></html>"
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
