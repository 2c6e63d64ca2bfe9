//! The routes of dead letters.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderName, StatusCode, header},
};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    broker::BrokerError,
    dead_letters::{
        Asked, Cursor, DeadLetterError, Disposition, EditError, Edited, Filter, LetterReplay, LetterSelection, Listing,
        SetAside, Shown, time,
    },
    http::{
        App,
        jobs::{self, View, Work},
        operator::Operator,
        problem::{Pointed, Problem},
        readers,
    },
    store::AuditRow,
};

/// Default and maximum number of letters in a list.
const LETTERS: usize = 100;
const MOST: usize = 1_000;
/// Maximum number of audit records in an answer.
const RECORDS: usize = 1_000;

/// The query parameters of the list.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Parameters {
    /// Only letters of this event.
    event: Option<String>,
    /// Only letters with this reason.
    reason: Option<String>,
    /// Only letters with this error code.
    code: Option<String>,
    /// Only letters with this key.
    key: Option<String>,
    /// Only letters written at this time or later: RFC 3339, or a time ago such as 2h.
    since: Option<String>,
    /// Only letters written before this time.
    until: Option<String>,
    /// `true` lists only parked letters.
    parked: bool,
    /// `true` lists letters in every state.
    all: bool,
    /// Maximum number of letters to list, from 0 to 1,000, the latest of them; all letters that are read are counted.
    max: Option<usize>,
    /// The value of `next` of an earlier answer: the list continues there with older letters.
    before: Option<String>,
}

/// The query parameters of routes for one letter.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Whereabouts {
    /// The `before` of the list that has the letter; without it, the letter is searched among the latest ones.
    before: Option<String>,
}

impl Whereabouts {
    fn of(query: Result<Query<Self>, QueryRejection>) -> Result<Option<Cursor>, Problem> {
        let Query(asked) = query.map_err(|_| bad("the only parameter is `before`"))?;
        place(asked.before)
    }
}

fn place(text: Option<String>) -> Result<Option<Cursor>, Problem> {
    text.map(|text| text.parse().map_err(|expected| bad(format!("`before`: {expected}")))).transpose()
}

/// `GET /dlq`: the latest matching letters, and the counts of each kind, in the part of the topic that one answer reads.
pub(in crate::http) async fn list(
    State(app): State<App>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Listing>, Problem> {
    let form = "the parameters are event, reason, code, key, since, until, parked, all, max and before";
    let Query(asked) = query.map_err(|_| bad(form))?;
    let max = asked.max.unwrap_or(LETTERS);
    if max > MOST {
        return Err(bad(format!("`max` must be a number from 0 to {MOST}")));
    }
    let at = |text: Option<String>| text.map(|text| time(&text)).transpose().map_err(bad);
    let Parameters { event, reason, code, key, parked, all, .. } = asked;
    let (since, until) = (at(asked.since)?, at(asked.until)?);
    let filter = Filter { event, reason, code, key, since, until, parked };
    let selection = LetterSelection { ids: Vec::new(), filter };
    let asked = Asked { selection, any: all, max, before: place(asked.before)? };
    let _turn = readers::turn(&app).await?;
    app.dead_letters().list(asked, |_, _| {}).await.map(Json).map_err(failed)
}

/// `GET /dlq/{id}`.
pub(in crate::http) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<Whereabouts>, QueryRejection>,
) -> Result<Json<Shown>, Problem> {
    let before = Whereabouts::of(query)?;
    let _turn = readers::turn(&app).await?;
    app.dead_letters().show(&id, before).await.map(Json).map_err(failed)
}

/// `GET /dlq/audit`: the actions of operators, also those on other things than dead letters, latest first.
pub(in crate::http) async fn audit(State(app): State<App>) -> Result<Json<Vec<AuditRow>>, Problem> {
    app.dead_letters().audit(RECORDS).await.map(Json).map_err(failed)
}

/// An answer with the job and its address in `location`.
type Begun = (StatusCode, [(HeaderName, String); 1], Json<View>);

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
    let (selection, how): (_, LetterReplay) = read(&body)?;
    how.check().map_err(bad)?;
    begin(&app, by, Work::LetterReplay(selection, how))
}

/// `GET /dlq/replay`: the last replay of this instance and its progress.
pub(in crate::http) async fn replay_state(State(app): State<App>) -> Result<Json<View>, Problem> {
    jobs::last_replay(&app).map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no replay was started yet"))
}

/// `DELETE /dlq/replay`: stops the replay after its current batch. The same request continues from there.
pub(in crate::http) async fn stop_replay(State(app): State<App>) -> Result<Json<View>, Problem> {
    if let Some(last) = jobs::last_replay(&app) {
        jobs::stop(&app, &last.id);
    }
    replay_state(State(app)).await
}

/// `GET /dlq/jobs`: the jobs of this instance, latest first.
pub(in crate::http) async fn all_jobs(State(app): State<App>) -> Json<Vec<View>> {
    Json(jobs::all(&app))
}

/// `GET /dlq/jobs/{id}`: a job and its progress.
pub(in crate::http) async fn job(State(app): State<App>, Path(id): Path<String>) -> Result<Json<View>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "this instance has no job with this id");
    jobs::view(&app, &id).map(Json).ok_or_else(unknown)
}

/// `DELETE /dlq/jobs/{id}`: stops a job after its current letters. The same request continues from there.
pub(in crate::http) async fn stop_job(state: State<App>, id: Path<String>) -> Result<Json<View>, Problem> {
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
    query: Result<Query<Whereabouts>, QueryRejection>,
    Operator(by): Operator,
    body: Bytes,
) -> Result<Json<Edited>, Problem> {
    let before = Whereabouts::of(query)?;
    let form = "send {\"event\": {…}}, the whole corrected event, and \"dryRun\": true to only check it";
    let correction: Correction = serde_json::from_slice(&body).map_err(|_| bad(form))?;
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

/// The options of a body that sets letters aside.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Further {
    note: String,
    dry_run: bool,
}

fn set_aside(app: &App, Operator(by): Operator, body: &[u8], how: Disposition) -> Result<Begun, Problem> {
    let (selection, Further { note, dry_run }) = read(body)?;
    begin(app, by, Work::SetAside(selection, SetAside { how, note, dry_run }))
}

/// Parses a selection and the options of a body. An unknown member is an error, and so is a body that selects nothing, because a
/// misspelt or missing condition must not select every letter.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(LetterSelection, T), Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let mut object: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| bad("the body is not a JSON object"))?;
    let selection = LetterSelection::take(&mut object).map_err(bad)?;
    let all = match object.remove("all") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(all)) => all,
        Some(_) => return Err(bad("`all` must be true or false")),
    };
    let rest = serde_json::from_value(Value::Object(object)).map_err(|error| bad(error.to_string()))?;
    if !selection.is_given() && !all {
        return Err(bad("select letters by \"ids\" or by conditions, or send \"all\": true"));
    }
    Ok((selection, rest))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn failed(error: DeadLetterError) -> Problem {
    match error {
        DeadLetterError::Store(error) => Problem::store_away(&error),
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
