//! Pausing and resuming consumption.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::http::App;

/// `POST /consumer/pause`.
pub(in crate::http) async fn pause(State(app): State<App>) -> Json<Value> {
    tracing::warn!("an operator has paused consumption");
    app.operations.pause();
    Json(json!({"paused": true}))
}

/// `POST /consumer/resume`.
pub(in crate::http) async fn resume(State(app): State<App>) -> Json<Value> {
    tracing::warn!("an operator has resumed consumption");
    app.operations.resume();
    Json(json!({"paused": false}))
}
