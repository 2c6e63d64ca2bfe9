//! Whether the service moves, and whether it is fit for work.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{http::App, telemetry::logs};

/// `GET /health/live`: 503 where something does not move and no cause is known that will pass.
pub(in crate::http) async fn live(State(app): State<App>) -> Response {
    answer(app.operations.health().not_live, None)
}

/// `GET /health/ready`: 503 with the reasons why it is not fit for work. Warnings do not make it unfit.
pub(in crate::http) async fn ready(State(app): State<App>) -> Response {
    let health = app.operations.health();
    answer(health.not_ready, Some(health.warnings))
}

/// `GET /health`: both.
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

/// A log that nobody reads stops nothing, but an operator should know.
fn log_warning() -> Option<String> {
    let stalled = logs::stalled()?.as_secs();
    Some(format!("the reader of the log has not read for {stalled} s; {} lines were dropped so far", logs::dropped()))
}
