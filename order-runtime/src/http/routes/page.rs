//! `GET /`: the state of the service for people, without a script; it loads itself again.

use std::fmt::Write;

use axum::{
    extract::State,
    http::header,
    response::{Html, IntoResponse, Response},
};

use crate::http::App;

const STYLE: &str = include_str!("page.css");

/// `GET /style.css`.
pub(in crate::http) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

/// `GET /`.
pub(in crate::http) async fn status(State(app): State<App>) -> Html<String> {
    Html(html(&app))
}

fn html(app: &App) -> String {
    let title = escaped(&app.config.app.name);
    let stats = app.operations.stats();
    let health = app.operations.health();
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\
         <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/style.css\">\
         <title>{title}</title><h1>{title} <small>{}</small></h1>",
        escaped(app.dispatcher.version)
    );
    // Writing to a text does not fail.
    if app.embedded_broker {
        let _ = write!(out, "<p class=\"note\">The broker is the embedded one: in memory, gone on exit.</p>");
    }
    let reasons: Vec<&String> = health.not_live.iter().chain(&health.not_ready).collect();
    if reasons.is_empty() {
        let _ = write!(out, "<p class=\"ok\">live and ready</p>");
    } else {
        let _ = write!(out, "<ul class=\"wrong\">");
        for reason in reasons {
            let _ = write!(out, "<li>{}</li>", escaped(reason));
        }
        let _ = write!(out, "</ul>");
    }
    let lag = stats.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
    let rate = format!("{:.1}", stats.per_second);
    table(
        &mut out,
        "Since the start",
        &["consumed", "ok", "skipped", "waiting", "dead letters", "retried", "per second", "lag"],
        [vec![
            stats.consumed.to_string(),
            stats.ok.to_string(),
            stats.skipped.to_string(),
            stats.waiting.to_string(),
            stats.dead_lettered.to_string(),
            stats.retried.to_string(),
            rate,
            lag,
        ]],
    );
    let partitions = app.operations.partitions().into_iter().map(|view| {
        vec![
            format!("{}/{}", view.topic, view.partition),
            format!("{:?}", view.state),
            view.reason.unwrap_or_default(),
            view.position.to_string(),
            view.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string()),
            view.waiting_keys.to_string(),
            view.waiting_events.to_string(),
        ]
    });
    table(
        &mut out,
        "Partitions",
        &["partition", "state", "why", "position", "lag", "waiting keys", "waiting events"],
        partitions,
    );
    let processors = app.registry.processors().iter().zip(app.operations.processors()).map(|(entry, counts)| {
        vec![
            format!("{} v{}", entry.event, entry.version),
            entry.name.to_owned(),
            counts.ok.to_string(),
            counts.dead_lettered.to_string(),
            counts.retried.to_string(),
            entry.summary.to_owned(),
        ]
    });
    table(&mut out, "Processors", &["event", "processor", "ok", "dead letters", "retried", "does"], processors);
    let name = app.dispatcher.name;
    let links = [name, "stats", "partitions", "processors", "health", "metrics"];
    let _ = write!(out, "<p>");
    for link in links {
        let _ = write!(out, "<a href=\"/{link}\">/{link}</a> ");
    }
    let _ = write!(out, "</p></html>");
    out
}

fn table(out: &mut String, caption: &str, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let _ = write!(out, "<table><caption>{caption}</caption><tr>");
    for cell in header {
        let _ = write!(out, "<th scope=\"col\">{cell}</th>");
    }
    let _ = write!(out, "</tr>");
    for row in rows {
        let _ = write!(out, "<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escaped(&cell));
        }
        let _ = write!(out, "</tr>");
    }
    let _ = write!(out, "</table>");
}

/// Text as text, whatever it is.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
