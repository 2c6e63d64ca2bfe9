//! Events that come in over HTTP.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    broker::PublishError,
    http::{
        App,
        operator::Operator,
        problem::{Pointed, Problem},
    },
    intake::{self, Accepted},
    telemetry::trace,
};

/// Events of one request at most.
const MOST: usize = 1000;

/// The parameters of the route.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Parameters {
    /// The key of all events; else each has the id that its data names.
    key: Option<String>,
}

/// `POST /events`: one event or an array. All are checked before the first is published.
pub(in crate::http) async fn publish(
    State(app): State<App>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    Operator(by): Operator,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Query(parameters) =
        parameters.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the only parameter is `key`"))?;
    if !is_json(&headers) {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send `content-type: application/json`"));
    }
    let Some(intake) = &app.0.intake else {
        let detail = "KAFKA_TOPIC has patterns only, so it is not known where events go";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let array = body.trim_ascii_start().starts_with(b"[");
    let events = intake::split(&body).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not JSON: line {}, column {}", error.line(), error.column()),
        )
    })?;
    if events.len() > MOST {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("send at most {MOST} events at once")));
    }
    let mut accepted = Vec::with_capacity(events.len());
    let mut errors = Vec::new();
    for (index, event) in events.iter().enumerate() {
        match intake.event(event.get().as_bytes(), parameters.key.as_deref()) {
            Ok(event) => accepted.push(event),
            Err(violations) => errors
                .extend(violations.into_iter().map(|violation| Pointed { index: array.then_some(index), violation })),
        }
    }
    if !errors.is_empty() {
        let detail = "nothing is published; `errors` names everything that is wrong";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors));
    }
    if let Some(context) = trace::of_http(&headers) {
        // Whoever sent the request is the beginning of these events' traces.
        for event in &mut accepted {
            trace::replace(&mut event.record, &context);
        }
    }
    let (ids, records): (Vec<_>, Vec<_>) =
        accepted.into_iter().map(|Accepted { id, record }| (id, Arc::new(record))).unzip();
    for result in app.publisher.publish(records.into()).await {
        if let Err(error) = result {
            tracing::warn!(%error, "an event that came over HTTP is not published");
            return Err(not_published(&error));
        }
    }
    // In the log and not in the audit: a row for each request would cost as much as the events.
    tracing::info!(by, events = ids.len(), "events came over HTTP");
    Ok((StatusCode::ACCEPTED, Json(json!({"ids": ids}))))
}

fn not_published(error: &PublishError) -> Problem {
    match error {
        PublishError::TooLarge { .. } => {
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "an event is larger than its topic takes")
        }
        PublishError::Invalid { .. } => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the topic refuses an event; a compacted topic takes none without a key",
        ),
        PublishError::Transient { .. } | PublishError::Refused { .. } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the broker has not taken every event; send them again with the same ids, which count once",
        ),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind == "application/cloudevents+json" || kind == "application/cloudevents-batch+json"
}
