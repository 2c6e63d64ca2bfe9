//! Waiting keys and their release.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    dead_letters::start_audit,
    engine::release::{KeySelection, Release, Released, WaitingKey},
    http::{
        App,
        input::Parameters,
        operator::{self, Operator},
        problem::Problem,
        readers,
    },
    model::PartitionId,
    store::AuditRow,
};

/// Maximum number of waiting events that a list reads.
const MOST: usize = 10_000;

/// The query parameters of the list.
#[derive(Deserialize, JsonSchema)]
pub(in crate::http) struct Limited {
    /// Maximum number of waiting events to read, in the order of partition and offset: from 1 to 10,000, which is also the
    /// default.
    limit: Option<usize>,
}

/// `GET /waiting?limit=`: the waiting keys of all instances, from the store.
pub(in crate::http) async fn list(
    State(app): State<App>,
    parameters: Result<Parameters<Limited>, Problem>,
) -> Result<Json<Vec<WaitingKey>>, Problem> {
    let limit = parameters.ok().map(|Parameters(Limited { limit })| limit.unwrap_or(MOST));
    let limit = limit.filter(|limit| (1..=MOST).contains(limit)).ok_or_else(|| {
        Problem::bad_request(format!("the only parameter is `limit`, a number of events from 1 to {MOST}"))
    })?;
    let _permit = readers::permit(&app).await?;
    let rows = app.store.waiting(limit).await.map_err(|error| Problem::store_unavailable(&error))?;
    let orphans = app.operations.orphans();
    let orphaned = |id: &PartitionId| orphans.iter().find(|orphan| orphan.id == *id).map(|orphan| orphan.cause);
    Ok(Json(WaitingKey::of(rows, orphaned)))
}

/// `POST /waiting/retry`.
pub(in crate::http) async fn retry(
    State(app): State<App>,
    Operator(by): Operator,
    selection: Result<Json<KeySelection>, JsonRejection>,
) -> Result<Json<Released>, Problem> {
    release(&app, &by, selection, Release::Retry).await
}

/// `POST /waiting/dead-letter`: dead-letters the first event of each selected key; with a topic alone, every waiting event of the
/// topic if it is orphaned.
pub(in crate::http) async fn dead_letter(
    State(app): State<App>,
    Operator(by): Operator,
    selection: Result<Json<KeySelection>, JsonRejection>,
) -> Result<Json<Released>, Problem> {
    release(&app, &by, selection, Release::DeadLetter).await
}

async fn release(
    app: &App,
    by: &str,
    selection: Result<Json<KeySelection>, JsonRejection>,
    how: Release,
) -> Result<Json<Released>, Problem> {
    let form = "send {\"key\": \"…\"} or {\"all\": true}, optionally with \"topic\" and \"partition\"";
    let Json(selection) = selection.map_err(|_| Problem::bad_request(form))?;
    let of_topic = how == Release::DeadLetter && selection.is_of_topic();
    if !selection.is_given() && !of_topic {
        return Err(Problem::bad_request(form));
    }
    let entry = start_audit(by, how.action(), &selection);
    // Before the first key is released, so that the audit names the operator even if the process is killed. Without the store, no
    // key can be released anyway.
    app.store.mark(entry.clone(), Vec::new()).await.map_err(|error| Problem::store_unavailable(&error))?;
    let app = app.clone();
    // A task of its own: the audit gets the number even if the client does not wait for the answer.
    let released = tokio::spawn(async move {
        if of_topic {
            let events = app.operations.give_up(selection).await?;
            operator::record(&app, AuditRow { letters: events, ..entry }).await;
            return Ok::<_, String>(Released::Events(events));
        }
        let keys = app.operations.release(selection, how).await as u64;
        operator::record(&app, AuditRow { letters: keys, ..entry }).await;
        Ok(Released::Keys(keys))
    });
    match released.await {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(why)) => Err(Problem::new(StatusCode::CONFLICT, why)),
        Err(_panic) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the release failed; the log has the reason"))
        }
    }
}
