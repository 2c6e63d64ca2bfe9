//! Dead letters: looking at them, and dealing with them.

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

/// Letters of a list where nobody says how many, and at most.
const LETTERS: usize = 100;
const MOST: usize = 1_000;
/// Records of the audit at most.
const RECORDS: usize = 1_000;

/// The parameters of the list.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Parameters {
    /// Only those of this event.
    event: Option<String>,
    /// Only those with this reason.
    reason: Option<String>,
    /// Only those with this error code.
    code: Option<String>,
    /// Only those under this key.
    key: Option<String>,
    /// Only those written since then: RFC 3339, or a time ago such as 2h.
    since: Option<String>,
    /// Only those written before then.
    until: Option<String>,
    /// `true` for those that are parked.
    parked: bool,
    /// `true` for all, whatever became of them.
    all: bool,
    /// How many to list, from 0 to 1,000, the latest of them; all that are read are counted.
    max: Option<usize>,
    /// What `next` of an earlier answer says: the list goes on there, with older letters.
    before: Option<String>,
}

/// Where a letter is looked for.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct Whereabouts {
    /// As in the list in which the letter was found; without it, the letter is looked for among the latest ones.
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

/// `GET /dlq`: the latest letters that fit, and how many there are of each kind, as far as the topic is read for one answer.
pub(in crate::http) async fn list(
    State(app): State<App>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Listing>, Problem> {
    let form = "the parameters are event, reason, code, key, since, until, parked, all, max and before";
    let Query(asked) = query.map_err(|_| bad(form))?;
    let max = asked.max.unwrap_or(LETTERS);
    if max > MOST {
        return Err(bad(format!("`max` is a number from 0 to {MOST}")));
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

/// `GET /dlq/audit`: what operators have done, with dead letters and else, the latest first.
pub(in crate::http) async fn audit(State(app): State<App>) -> Result<Json<Vec<AuditRow>>, Problem> {
    app.dead_letters().audit(RECORDS).await.map(Json).map_err(failed)
}

/// An answer that says where to ask how far a job is.
type Begun = (StatusCode, [(HeaderName, String); 1], Json<View>);

fn begin(app: &App, by: String, work: Work) -> Result<Begun, Problem> {
    let begun = jobs::begin(app, by, work).ok_or_else(|| {
        let detail = "another job of this kind is under way; GET /dlq/jobs lists them, DELETE /dlq/jobs/{id} stops one";
        Problem::new(StatusCode::CONFLICT, detail)
    })?;
    let place = [(header::LOCATION, format!("/dlq/jobs/{}", begun.id))];
    Ok((StatusCode::ACCEPTED, place, Json(begun)))
}

/// `POST /dlq/replay`: begins a replay, or with `dryRun` a count of what it would send.
pub(in crate::http) async fn replay(
    State(app): State<App>,
    Operator(by): Operator,
    body: Bytes,
) -> Result<Begun, Problem> {
    let (selection, how): (_, LetterReplay) = read(&body)?;
    how.check().map_err(bad)?;
    begin(&app, by, Work::LetterReplay(selection, how))
}

/// `GET /dlq/replay`: how far the last replay of this instance is.
pub(in crate::http) async fn replay_state(State(app): State<App>) -> Result<Json<View>, Problem> {
    jobs::last_replay(&app).map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "nothing was replayed yet"))
}

/// `DELETE /dlq/replay`: ends the replay after the batch that is under way. The same request goes on from there.
pub(in crate::http) async fn stop_replay(State(app): State<App>) -> Result<Json<View>, Problem> {
    if let Some(last) = jobs::last_replay(&app) {
        jobs::stop(&app, &last.id);
    }
    replay_state(State(app)).await
}

/// `GET /dlq/jobs`: the jobs of this instance, the latest first.
pub(in crate::http) async fn all_jobs(State(app): State<App>) -> Json<Vec<View>> {
    Json(jobs::all(&app))
}

/// `GET /dlq/jobs/{id}`: how far a job is.
pub(in crate::http) async fn job(State(app): State<App>, Path(id): Path<String>) -> Result<Json<View>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "this instance knows no job of this id");
    jobs::view(&app, &id).map(Json).ok_or_else(unknown)
}

/// `DELETE /dlq/jobs/{id}`: ends a job after the letters that are under way. The same request goes on from there.
pub(in crate::http) async fn stop_job(state: State<App>, id: Path<String>) -> Result<Json<View>, Problem> {
    jobs::stop(&state, &id);
    job(state, id).await
}

/// What `POST /dlq/{id}/edit` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Correction {
    /// The whole event as it should have been.
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
    let form = "send {\"event\": {…}}, the whole event as it should have been, and \"dryRun\": true to check it only";
    let correction: Correction = serde_json::from_slice(&body).map_err(|_| bad(form))?;
    let (event, dry_run) = (correction.event.get(), correction.dry_run);
    let edited = app.dead_letters().edit(&*app.publisher, &by, &id, before, event, dry_run).await;
    edited.map(Json).map_err(|error| match error {
        EditError::DeadLetterService(error) => failed(error),
        EditError::Invalid(violations) => {
            let errors = violations.into_iter().map(|violation| Pointed { index: None, violation }).collect();
            let detail = "nothing is sent; `errors` names what is wrong";
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

/// What goes along with a selection that is set aside.
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

/// Reads a selection, and what else the body says. A word that is neither is an error, and so is a body that selects nothing: a
/// condition that is misspelt or left out must not select everything.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(LetterSelection, T), Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let mut object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| bad("the body is no JSON object"))?;
    let selection = LetterSelection::take(&mut object).map_err(bad)?;
    let all = match object.remove("all") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(all)) => all,
        Some(_) => return Err(bad("`all` is true or false")),
    };
    let rest = serde_json::from_value(Value::Object(object)).map_err(|error| bad(error.to_string()))?;
    if !selection.is_given() && !all {
        return Err(bad("name letters by \"ids\" or by conditions, or send \"all\": true"));
    }
    Ok((selection, rest))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn failed(error: DeadLetterError) -> Problem {
    match error {
        DeadLetterError::Store(error) => Problem::store_away(&error),
        DeadLetterError::Unknown(_) => Problem::new(StatusCode::NOT_FOUND, "there is no dead letter of this id"),
        DeadLetterError::NotAmong { read, of, .. } => Problem::new(
            StatusCode::NOT_FOUND,
            format!(
                "there is no dead letter of this id among the {read} records read of {of}; give the `before` of its list, or use `dlq show`"
            ),
        ),
        error @ DeadLetterError::TooSlow(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        DeadLetterError::Refused { why, .. } => Problem::new(StatusCode::CONFLICT, why),
        DeadLetterError::Broker(BrokerError::UnknownTopic(_)) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the dead-letter topic does not exist; create KAFKA_DLQ_TOPIC",
        ),
        DeadLetterError::Broker(error) => {
            tracing::warn!(%error, "the dead-letter topic is not read");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the dead-letter topic cannot be read; the log says why")
        }
        DeadLetterError::Publish(error) => {
            tracing::warn!(%error, "a dead letter is not replayed");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the broker has not taken it; send it again")
        }
    }
}
