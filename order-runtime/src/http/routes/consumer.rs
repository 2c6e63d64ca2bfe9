//! Pausing and resuming consumption.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{
    dead_letters::start_audit,
    http::{
        App,
        operator::{self, Operator},
    },
};

/// `POST /consumer/pause`.
pub(in crate::http) async fn pause(State(app): State<App>, Operator(by): Operator) -> Json<Value> {
    app.operations.pause();
    operator::record(&app, start_audit(&by, "pause", &json!({}))).await;
    Json(json!({"paused": true}))
}

/// `POST /consumer/resume`.
pub(in crate::http) async fn resume(State(app): State<App>, Operator(by): Operator) -> Json<Value> {
    app.operations.resume();
    operator::record(&app, start_audit(&by, "resume", &json!({}))).await;
    Json(json!({"paused": false}))
}
