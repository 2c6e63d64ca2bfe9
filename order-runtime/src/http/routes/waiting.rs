//! Keys that wait, and their release.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
};
use serde_json::{Value, json};

use crate::{
    engine::release::{Release, Selection, WaitingKey},
    http::{App, problem::Problem},
};

/// Waiting events that are read for a list.
const MOST: usize = 10_000;

/// `GET /waiting`: the keys that wait in the store, of all instances.
pub(in crate::http) async fn list(State(app): State<App>) -> Result<Json<Vec<WaitingKey>>, Problem> {
    let rows = app.store.waiting(MOST).await.map_err(|error| Problem::store_away(&error))?;
    Ok(Json(WaitingKey::of(rows)))
}

/// `POST /waiting/retry`.
pub(in crate::http) async fn retry(
    State(app): State<App>,
    selection: Result<Json<Selection>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    release(&app, selection, Release::Retry).await
}

/// `POST /waiting/dead-letter`.
pub(in crate::http) async fn dead_letter(
    State(app): State<App>,
    selection: Result<Json<Selection>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    release(&app, selection, Release::DeadLetter).await
}

async fn release(
    app: &App,
    selection: Result<Json<Selection>, JsonRejection>,
    how: Release,
) -> Result<Json<Value>, Problem> {
    let form = "send {\"key\": \"…\"} or {\"all\": true}, and \"topic\" and \"partition\" where they matter";
    let Json(selection) = selection.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, form))?;
    if !selection.is_given() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, form));
    }
    tracing::warn!(?selection, ?how, "an operator releases waiting keys");
    let released = app.operations.release(selection, how).await;
    Ok(Json(json!({"released": released})))
}
