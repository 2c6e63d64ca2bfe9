//! The routes of dead letters.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderName, StatusCode, header},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    broker::BrokerError,
    dead_letters::{
        Cursor, DeadLetterError, Disposition, EditError, Edited, LetterReplay, LetterSelection, ListRequest, Listing,
        SetAside, Shown,
    },
    http::{
        App,
        input::{self, Parameters},
        jobs::{self, JobView, Work},
        operator::Operator,
        problem::{Pointed, Problem},
        readers,
    },
    store::AuditRow,
};

/// Maximum number of letters in a list.
const MOST: usize = 1_000;
/// Maximum number of audit records in an answer.
const RECORDS: usize = 1_000;

/// The query parameters of routes for one letter.
#[derive(Deserialize, JsonSchema)]
pub(in crate::http) struct LetterPlace {
    /// The `before` of the list that has the letter; without it, the letter is searched among the latest ones.
    #[schemars(with = "Option<String>")]
    before: Option<Cursor>,
}

/// `GET /dlq`: the latest matching letters, and the counts of each kind, in the part of the topic that one answer reads.
pub(in crate::http) async fn list(
    State(app): State<App>,
    Parameters(request): Parameters<ListRequest>,
) -> Result<Json<Listing>, Problem> {
    if request.max > MOST {
        return Err(Problem::bad_request(format!("`max` must be a number from 0 to {MOST}")));
    }
    let _permit = readers::permit(&app).await?;
    app.dead_letters().list(request, |_, _| {}).await.map(Json).map_err(failed)
}

/// `GET /dlq/{id}`.
pub(in crate::http) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    Parameters(LetterPlace { before }): Parameters<LetterPlace>,
) -> Result<Json<Shown>, Problem> {
    let _permit = readers::permit(&app).await?;
    app.dead_letters().show(&id, before).await.map(Json).map_err(failed)
}

/// `GET /dlq/audit`: the actions of operators, also those on other things than dead letters, latest first.
pub(in crate::http) async fn audit(State(app): State<App>) -> Result<Json<Vec<AuditRow>>, Problem> {
    app.dead_letters().audit(RECORDS).await.map(Json).map_err(failed)
}

/// An answer with the job and its address in `location`.
type Begun = (StatusCode, [(HeaderName, String); 1], Json<JobView>);

fn begin(app: &App, by: String, work: Work) -> Result<Begun, Problem> {
    let begun = jobs::begin(app, by, work).ok_or_else(|| {
        let detail =
            "another job of this kind is running; GET /dlq/jobs lists all jobs, DELETE /dlq/jobs/{id} stops one";
        Problem::new(StatusCode::CONFLICT, detail)
    })?;
    let place = [(header::LOCATION, format!("/dlq/jobs/{}", begun.id))];
    Ok((StatusCode::ACCEPTED, place, Json(begun)))
}

/// `POST /dlq/replay`: starts a replay, or with `dryRun` only counts the letters.
pub(in crate::http) async fn replay(
    State(app): State<App>,
    Operator(by): Operator,
    body: Bytes,
) -> Result<Begun, Problem> {
    let request: LetterReplay = input::body(&body)?;
    check(&request.selection)?;
    begin(&app, by, Work::LetterReplay(request))
}

/// `GET /dlq/replay`: the last replay of this instance and its progress.
pub(in crate::http) async fn replay_state(State(app): State<App>) -> Result<Json<JobView>, Problem> {
    jobs::last_replay(&app).map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no replay was started yet"))
}

/// `DELETE /dlq/replay`: stops the replay after its current batch. The same request continues from there.
pub(in crate::http) async fn stop_replay(State(app): State<App>) -> Result<Json<JobView>, Problem> {
    if let Some(last) = jobs::last_replay(&app) {
        jobs::stop(&app, &last.id);
    }
    replay_state(State(app)).await
}

/// `GET /dlq/jobs`: the jobs of this instance, latest first.
pub(in crate::http) async fn all_jobs(State(app): State<App>) -> Json<Vec<JobView>> {
    Json(jobs::all(&app))
}

/// `GET /dlq/jobs/{id}`: a job and its progress.
pub(in crate::http) async fn job(State(app): State<App>, Path(id): Path<String>) -> Result<Json<JobView>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "this instance has no job with this id");
    jobs::view(&app, &id).map(Json).ok_or_else(unknown)
}

/// `DELETE /dlq/jobs/{id}`: stops a job after its current letters. The same request continues from there.
pub(in crate::http) async fn stop_job(state: State<App>, id: Path<String>) -> Result<Json<JobView>, Problem> {
    jobs::stop(&state, &id);
    job(state, id).await
}

/// The body of `POST /dlq/{id}/edit`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Correction {
    /// The whole corrected event.
    event: Box<RawValue>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /dlq/{id}/edit`: checks a corrected event and sends it as a replay.
pub(in crate::http) async fn edit(
    State(app): State<App>,
    Path(id): Path<String>,
    Parameters(LetterPlace { before }): Parameters<LetterPlace>,
    Operator(by): Operator,
    body: Bytes,
) -> Result<Json<Edited>, Problem> {
    let form = "send {\"event\": {…}}, the whole corrected event, and \"dryRun\": true to only check it";
    let correction: Correction = serde_json::from_slice(&body).map_err(|_| Problem::bad_request(form))?;
    let (event, dry_run) = (correction.event.get(), correction.dry_run);
    let edited = app.dead_letters().edit(&*app.publisher, &by, &id, before, event, dry_run).await;
    edited.map(Json).map_err(|error| match error {
        EditError::DeadLetterService(error) => failed(error),
        EditError::Invalid(violations) => {
            let errors = violations.into_iter().map(|violation| Pointed { index: None, violation }).collect();
            let detail = "nothing is sent; `errors` has the violations";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors)
        }
    })
}

/// `POST /dlq/park`.
pub(in crate::http) async fn park(app: State<App>, by: Operator, body: Bytes) -> Result<Begun, Problem> {
    set_aside(&app, by, &body, Disposition::Park)
}

/// `POST /dlq/unpark`.
pub(in crate::http) async fn unpark(app: State<App>, by: Operator, body: Bytes) -> Result<Begun, Problem> {
    set_aside(&app, by, &body, Disposition::Unpark)
}

/// `POST /dlq/purge`.
pub(in crate::http) async fn purge(app: State<App>, by: Operator, body: Bytes) -> Result<Begun, Problem> {
    set_aside(&app, by, &body, Disposition::Purge)
}

fn set_aside(app: &App, Operator(by): Operator, body: &[u8], how: Disposition) -> Result<Begun, Problem> {
    let request: SetAside = input::body(body)?;
    check(&request.selection)?;
    begin(app, by, Work::SetAside(how, request))
}

fn check(selection: &LetterSelection) -> Result<(), Problem> {
    if selection.is_given() {
        return Ok(());
    }
    Err(Problem::bad_request("select letters by \"ids\" or by conditions, or send \"all\": true"))
}

fn failed(error: DeadLetterError) -> Problem {
    match error {
        DeadLetterError::Store(error) => Problem::store_unavailable(&error),
        DeadLetterError::Unknown(_) => Problem::new(StatusCode::NOT_FOUND, "there is no dead letter with this id"),
        DeadLetterError::NotAmong { read, of, .. } => Problem::new(
            StatusCode::NOT_FOUND,
            format!(
                "there is no dead letter with this id among the {read} records read of {of}; give the `before` of its list, or use `dlq show`"
            ),
        ),
        error @ DeadLetterError::TooSlow(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        DeadLetterError::Refused { why, .. } => Problem::new(StatusCode::CONFLICT, why),
        DeadLetterError::Broker(BrokerError::UnknownTopic(_)) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the dead-letter topic does not exist; create KAFKA_DLQ_TOPIC",
        ),
        DeadLetterError::Broker(error) => {
            tracing::warn!(%error, "cannot read the dead-letter topic");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the dead-letter topic cannot be read; the log has the reason",
            )
        }
        DeadLetterError::Publish(error) => {
            tracing::warn!(%error, "a dead letter was not published");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the broker did not accept the event; send it again")
        }
    }
}
