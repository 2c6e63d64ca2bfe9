//! Liveness and readiness.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{http::App, telemetry::logs};

/// `GET /health/live`: 503 with the reasons if a component is stuck for no known temporary cause.
pub(in crate::http) async fn live(State(app): State<App>) -> Response {
    answer(app.operations.health().not_live, None)
}

/// `GET /health/ready`: 503 with the reasons if the service is not ready. Warnings do not affect readiness.
pub(in crate::http) async fn ready(State(app): State<App>) -> Response {
    let health = app.operations.health();
    answer(health.not_ready, Some(health.warnings))
}

/// `GET /health`: liveness and readiness together.
pub(in crate::http) async fn all(State(app): State<App>) -> Response {
    let health = app.operations.health();
    answer(health.not_live.into_iter().chain(health.not_ready).collect(), Some(health.warnings))
}

fn answer(reasons: Vec<String>, warnings: Option<Vec<String>>) -> Response {
    let (code, status) =
        if reasons.is_empty() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "unavailable") };
    let mut body = json!({"status": status, "reasons": reasons});
    if let Some(mut warnings) = warnings {
        warnings.extend(log_warning());
        body["warnings"] = json!(warnings);
    }
    (code, Json(body)).into_response()
}

/// A warning if the reader of the log has stopped reading. The service continues, but log lines are dropped.
fn log_warning() -> Option<String> {
    let stalled = logs::stalled()?.as_secs();
    Some(format!("the reader of the log has not read for {stalled} s; {} lines were dropped so far", logs::dropped()))
}
