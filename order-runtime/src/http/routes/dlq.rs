//! Dead letters: looking at them, and dealing with them.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    broker::BrokerError,
    dead_letters::{
        Aside, Asked, DeskError, EditError, Edited, Filter, Listing, Place, Replay, Selection, Shown, time,
    },
    http::{
        App,
        accept::Peer,
        problem::{Pointed, Problem},
        replays,
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
    fn of(query: Result<Query<Self>, QueryRejection>) -> Result<Option<Place>, Problem> {
        let Query(asked) = query.map_err(|_| bad("the only parameter is `before`"))?;
        place(asked.before)
    }
}

fn place(text: Option<String>) -> Result<Option<Place>, Problem> {
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
    let selection = Selection { ids: Vec::new(), filter };
    let asked = Asked { selection, any: all, max, before: place(asked.before)? };
    app.desk().list(asked, |_, _| {}).await.map(Json).map_err(failed)
}

/// `GET /dlq/{id}`.
pub(in crate::http) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<Whereabouts>, QueryRejection>,
) -> Result<Json<Shown>, Problem> {
    app.desk().show(&id, Whereabouts::of(query)?).await.map(Json).map_err(failed)
}

/// `GET /dlq/audit`: what operators have done, the latest first.
pub(in crate::http) async fn audit(State(app): State<App>) -> Result<Json<Vec<AuditRow>>, Problem> {
    app.desk().audit(RECORDS).await.map(Json).map_err(failed)
}

/// `POST /dlq/replay`: counts at once with `dryRun`; else begins, and `GET /dlq/replay` tells how far it is.
pub(in crate::http) async fn replay(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (selection, how): (_, Replay) = read(&body)?;
    how.check().map_err(bad)?;
    if how.dry_run {
        let summary = app.desk().count(selection, &how).await.map_err(failed)?;
        return Ok((StatusCode::OK, Json(json!(summary))));
    }
    let begun = replays::begin(&app, actor(&app, peer), selection, how);
    let begun = begun.ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "a replay is under way; wait for its end, or send DELETE /dlq/replay")
    })?;
    Ok((StatusCode::ACCEPTED, Json(json!(begun))))
}

/// `GET /dlq/replay`: how far the last replay of this instance is.
pub(in crate::http) async fn replay_state(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let view = replays::view(&app).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "nothing was replayed yet"))?;
    Ok(Json(json!(view)))
}

/// `DELETE /dlq/replay`: ends the replay after the batch that is under way. The same request goes on from there.
pub(in crate::http) async fn stop_replay(State(app): State<App>) -> Result<Json<Value>, Problem> {
    replays::stop(&app);
    replay_state(State(app)).await
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
    peer: Option<Extension<Peer>>,
    body: Bytes,
) -> Result<Json<Edited>, Problem> {
    let before = Whereabouts::of(query)?;
    let form = "send {\"event\": {…}}, the whole event as it should have been, and \"dryRun\": true to check it only";
    let correction: Correction = serde_json::from_slice(&body).map_err(|_| bad(form))?;
    let by = actor(&app, peer);
    let (event, dry_run) = (correction.event.get(), correction.dry_run);
    let edited = app.desk().edit(&*app.publisher, &by, &id, before, event, dry_run).await;
    edited.map(Json).map_err(|error| match error {
        EditError::Desk(error) => failed(error),
        EditError::Invalid(violations) => {
            let errors = violations.into_iter().map(|violation| Pointed { index: None, violation }).collect();
            let detail = "nothing is sent; `errors` names everything that is wrong";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors)
        }
    })
}

/// `POST /dlq/park`.
pub(in crate::http) async fn park(app: State<App>, peer: Option<Extension<Peer>>, body: Bytes) -> Answer {
    set_aside(app, peer, body, Aside::Park).await
}

/// `POST /dlq/unpark`.
pub(in crate::http) async fn unpark(app: State<App>, peer: Option<Extension<Peer>>, body: Bytes) -> Answer {
    set_aside(app, peer, body, Aside::Unpark).await
}

/// `POST /dlq/purge`.
pub(in crate::http) async fn purge(app: State<App>, peer: Option<Extension<Peer>>, body: Bytes) -> Answer {
    set_aside(app, peer, body, Aside::Purge).await
}

type Answer = Result<Json<Value>, Problem>;

/// What goes along with a selection that is set aside.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct Further {
    note: String,
    all: bool,
    dry_run: bool,
}

async fn set_aside(State(app): State<App>, peer: Option<Extension<Peer>>, body: Bytes, how: Aside) -> Answer {
    let (selection, Further { note, all, dry_run }) = read(&body)?;
    if !selection.is_given() && !all {
        return Err(bad("name letters by \"ids\" or by conditions, or send \"all\": true"));
    }
    let by = actor(&app, peer);
    let letters = app.desk().set_aside(&by, selection, how, &note, dry_run, |_, _| {}).await.map_err(failed)?;
    Ok(Json(json!({"letters": letters, "dryRun": dry_run})))
}

/// Reads a selection, and what else the body says; a word that is neither is an error, for a condition that is misspelt must
/// not select everything.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<(Selection, T), Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let mut object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| bad("the body is no JSON object"))?;
    let selection = Selection::take(&mut object).map_err(bad)?;
    let rest = serde_json::from_value(Value::Object(object)).map_err(|error| bad(error.to_string()))?;
    Ok((selection, rest))
}

/// Who asks, for the audit.
fn actor(app: &App, peer: Option<Extension<Peer>>) -> String {
    let how = if app.config.app.admin_token.is_some() { "token" } else { "http" };
    match peer {
        Some(Extension(Peer(address))) => format!("{how}@{}", address.ip()),
        None => how.to_owned(),
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn failed(error: DeskError) -> Problem {
    match error {
        DeskError::Store(error) => Problem::store_away(&error),
        DeskError::Unknown(_) => Problem::new(StatusCode::NOT_FOUND, "there is no dead letter of this id"),
        DeskError::NotAmong { read, of, .. } => Problem::new(
            StatusCode::NOT_FOUND,
            format!(
                "there is no dead letter of this id among the {read} records read of {of}; give the `before` of its list, or use `dlq show`"
            ),
        ),
        error @ DeskError::TooSlow(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        DeskError::Refused { why, .. } => Problem::new(StatusCode::CONFLICT, why),
        DeskError::Broker(BrokerError::UnknownTopic(_)) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the dead-letter topic does not exist; create KAFKA_DLQ_TOPIC",
        ),
        DeskError::Broker(error) => {
            tracing::warn!(%error, "the dead-letter topic is not read");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the dead-letter topic cannot be read; the log says why")
        }
        DeskError::Publish(error) => {
            tracing::warn!(%error, "a dead letter is not replayed");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the broker has not taken it; send it again")
        }
    }
}
