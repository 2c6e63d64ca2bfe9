//! Keys that wait, and their release.

use axum::{
    Json,
    extract::{
        Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    broker::PartitionId,
    engine::release::{Release, Selection, WaitingKey},
    http::{App, problem::Problem},
};

/// Waiting events that are read for a list.
const MOST: usize = 10_000;

/// The parameters of the list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Parameters {
    /// Waiting events that are read, in the order of their partitions and offsets: from 1 to 10,000, which is also what it is
    /// where nothing is said.
    limit: Option<usize>,
}

/// `GET /waiting?limit=`: the keys that wait in the store, of all instances.
pub(in crate::http) async fn list(
    State(app): State<App>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Vec<WaitingKey>>, Problem> {
    let limit = parameters.ok().map(|Query(parameters)| parameters.limit.unwrap_or(MOST));
    let limit = limit.filter(|limit| (1..=MOST).contains(limit)).ok_or_else(|| {
        let detail = format!("the only parameter is `limit`, a number of events from 1 to {MOST}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let rows = app.store.waiting(limit).await.map_err(|error| Problem::store_away(&error))?;
    let orphans = app.operations.orphans();
    let orphaned = |id: &PartitionId| orphans.iter().find(|orphan| orphan.id == *id).map(|orphan| orphan.cause);
    Ok(Json(WaitingKey::of(rows, orphaned)))
}

/// `POST /waiting/retry`.
pub(in crate::http) async fn retry(
    State(app): State<App>,
    selection: Result<Json<Selection>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    release(&app, selection, Release::Retry).await
}

/// `POST /waiting/dead-letter`: the first event of each key that is named; of a topic alone everything that waits, where it is orphaned.
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
    if how == Release::DeadLetter && selection.is_of_topic() {
        tracing::warn!(?selection, "an operator gives up what waits of an orphaned topic");
        let given_up = app.operations.give_up(selection).await;
        let events = given_up.map_err(|why| Problem::new(StatusCode::CONFLICT, why))?;
        return Ok(Json(json!({"events": events})));
    }
    if !selection.is_given() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, form));
    }
    tracing::warn!(?selection, ?how, "an operator releases waiting keys");
    let released = app.operations.release(selection, how).await;
    Ok(Json(json!({"released": released})))
}
