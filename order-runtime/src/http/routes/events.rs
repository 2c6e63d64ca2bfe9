//! The ingest of events over HTTP.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    broker::PublishError,
    decode,
    http::{
        App,
        input::Parameters,
        operator::{self, Operator},
        problem::{Pointed, Problem},
    },
    ingest::{self, Accepted, Ingest},
    trace,
};

/// Maximum number of events in a request.
const MOST: usize = 1000;

/// The query parameters of the route.
#[derive(Deserialize, JsonSchema)]
pub(in crate::http) struct Keyed {
    /// The key of all events; by default each event's key is the id in its data.
    key: Option<String>,
}

/// `POST /events`: one event or an array, or a `CloudEvent` in any mode of its HTTP binding. All events are checked before the
/// first is published.
pub(in crate::http) async fn publish(
    State(app): State<App>,
    Parameters(Keyed { key }): Parameters<Keyed>,
    Operator(by): Operator,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    if !is_json(&headers) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send `content-type: application/json`"));
    }
    let Some(ingest) = &app.0.ingest else {
        let detail = "KAFKA_TOPIC has patterns only, so there is no topic to publish to";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let (mut accepted, errors) = if is_binary(&headers) {
        binary(ingest, &headers, &body, key.as_deref())
    } else {
        structured(ingest, &body, key.as_deref())?
    };
    if !errors.is_empty() {
        let detail = "nothing is published; `errors` has the violations of each event";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors));
    }
    if let Some(context) = trace::of_http(&headers) {
        // The request's trace context is the parent of these events' traces.
        for event in &mut accepted {
            trace::replace(&mut event.record, &context);
        }
    }
    let (ids, records): (Vec<_>, Vec<_>) =
        accepted.into_iter().map(|Accepted { id, record }| (id, Arc::new(record))).unzip();
    for result in app.publisher.publish(records.into()).await {
        if let Err(error) = result {
            tracing::warn!(%error, "an event received over HTTP was not published");
            return Err(not_published(&error));
        }
    }
    tracing::info!(by, events = ids.len(), "events received over HTTP");
    operator::ingested(&app, by, ids.len() as u64);
    Ok((StatusCode::ACCEPTED, Json(json!({"ids": ids}))))
}

/// The accepted events, and the violations of the others.
type Checked = (Vec<Accepted>, Vec<Pointed>);

/// Checks one event or an array of events, each a JSON object.
fn structured(ingest: &Ingest, body: &[u8], key: Option<&str>) -> Result<Checked, Problem> {
    let array = body.trim_ascii_start().starts_with(b"[");
    let events = ingest::split(body).map_err(|error| {
        Problem::bad_request(format!("the body is not JSON: line {}, column {}", error.line(), error.column()))
    })?;
    if events.len() > MOST {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("send at most {MOST} events at once")));
    }
    let (mut accepted, mut errors) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, event) in events.iter().enumerate() {
        match ingest.event(event.get().as_bytes(), key) {
            Ok(event) => accepted.push(event),
            Err(violations) => errors
                .extend(violations.into_iter().map(|violation| Pointed { index: array.then_some(index), violation })),
        }
    }
    Ok((accepted, errors))
}

/// Checks a `CloudEvent` whose attributes are headers.
fn binary(ingest: &Ingest, headers: &HeaderMap, body: &[u8], key: Option<&str>) -> Checked {
    let attributes = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    match ingest.binary(attributes, content_type(headers), body, key) {
        Ok(event) => (vec![event], Vec::new()),
        Err(violations) => {
            (Vec::new(), violations.into_iter().map(|violation| Pointed { index: None, violation }).collect())
        }
    }
}

/// Whether the attributes of a `CloudEvent` are in the headers, and not in the body as its content type would say.
fn is_binary(headers: &HeaderMap) -> bool {
    let in_body = essence(headers).starts_with("application/cloudevents");
    !in_body && ["ce-specversion", "ce-id", "ce-type", "ce-source"].iter().any(|name| headers.contains_key(*name))
}

fn not_published(error: &PublishError) -> Problem {
    match error {
        PublishError::TooLarge { .. } => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "an event is larger than its topic's limit; other events of the request may be published",
        ),
        PublishError::Invalid { .. } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the topic refuses an event; a compacted topic takes no record without a key. Other events of the request may be published",
        ),
        PublishError::Transient { .. } | PublishError::Refused { .. } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the broker did not accept every event; send them again with the same ids, so that each counts once",
        ),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = essence(headers);
    kind == "application/json"
        || kind == "application/cloudevents+json"
        || kind == "application/cloudevents-batch+json"
        || is_binary(headers) && decode::is_json(&kind)
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

/// The media type of the body without its parameters.
fn essence(headers: &HeaderMap) -> String {
    content_type(headers).split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
