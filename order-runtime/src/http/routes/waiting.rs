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
    dead_letters::begun,
    engine::release::{KeySelection, Release, WaitingKey},
    http::{
        App,
        operator::{self, Operator},
        problem::Problem,
        readers,
    },
    model::PartitionId,
    store::AuditRow,
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
    let _turn = readers::turn(&app).await?;
    let rows = app.store.waiting(limit).await.map_err(|error| Problem::store_away(&error))?;
    let orphans = app.operations.orphans();
    let orphaned = |id: &PartitionId| orphans.iter().find(|orphan| orphan.id == *id).map(|orphan| orphan.cause);
    Ok(Json(WaitingKey::of(rows, orphaned)))
}

/// `POST /waiting/retry`.
pub(in crate::http) async fn retry(
    State(app): State<App>,
    Operator(by): Operator,
    selection: Result<Json<KeySelection>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    release(&app, &by, selection, Release::Retry).await
}

/// `POST /waiting/dead-letter`: the first event of each key that is named; of a topic alone everything that waits, where it is orphaned.
pub(in crate::http) async fn dead_letter(
    State(app): State<App>,
    Operator(by): Operator,
    selection: Result<Json<KeySelection>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    release(&app, &by, selection, Release::DeadLetter).await
}

async fn release(
    app: &App,
    by: &str,
    selection: Result<Json<KeySelection>, JsonRejection>,
    how: Release,
) -> Result<Json<Value>, Problem> {
    let form = "send {\"key\": \"…\"} or {\"all\": true}, and \"topic\" and \"partition\" where they matter";
    let Json(selection) = selection.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, form))?;
    let of_topic = how == Release::DeadLetter && selection.is_of_topic();
    if !selection.is_given() && !of_topic {
        return Err(Problem::new(StatusCode::BAD_REQUEST, form));
    }
    let action = match how {
        Release::Retry => "waiting_retry",
        Release::DeadLetter => "waiting_dead_letter",
    };
    let entry = begun(by, action, &selection);
    // Before the first key is released, so that no kill hides who has asked. Without the store no key is released either.
    app.store.mark(entry.clone(), Vec::new()).await.map_err(|error| Problem::store_away(&error))?;
    let app = app.clone();
    // On its own: who has asked may not wait for the answer, and the audit has the number nevertheless.
    let released = tokio::spawn(async move {
        if of_topic {
            let events = app.operations.give_up(selection).await?;
            operator::record(&app, AuditRow { letters: events, ..entry }).await;
            return Ok::<_, String>(json!({"events": events}));
        }
        let released = app.operations.release(selection, how).await;
        operator::record(&app, AuditRow { letters: released as u64, ..entry }).await;
        Ok(json!({"released": released}))
    });
    match released.await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(why)) => Err(Problem::new(StatusCode::CONFLICT, why)),
        Err(_panic) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the release has failed; the log says why")),
    }
}
