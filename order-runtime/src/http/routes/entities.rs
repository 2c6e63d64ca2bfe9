//! The read model of the domain's first entity.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde_json::{Value, json};

use crate::{
    engine::identity::{Ring, ring_key_of},
    http::{App, problem::Problem, routes::Parameter},
    store::{EntityType, Page, StoreError},
};

/// Entities of a page where nobody says how many.
const LIMIT: usize = 100;
/// Entities of a page at most.
const MOST: usize = 1000;

/// The parameters of the page, for people.
pub(super) fn parameters(filters: &[&str]) -> Vec<Parameter> {
    let parameter = |name: &str, kind: &str, about: &str| Parameter {
        name: name.to_owned(),
        about: about.to_owned(),
        kind: kind.to_owned(),
    };
    let filters = filters.iter().map(|name| parameter(name, "string", "Only those that have this value."));
    [
        parameter("limit", "integer", "How many at most, from 1 to 1,000; 100 where nothing is said."),
        parameter("after", "string", "The id behind which the page begins."),
    ]
    .into_iter()
    .chain(filters)
    .collect()
}

/// `GET /{name}?limit=&after=` and the entity's filters: an array in the order of ids.
pub(in crate::http) async fn page(
    State(app): State<App>,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Value>>, Problem> {
    let Query(parameters) = query.map_err(|_| bad("the query cannot be read"))?;
    let entity = entity(&app)?;
    let page = read(parameters, entity.filters)?;
    app.store.page(entity, page).await.map(Json).map_err(|error| Problem::store_away(&error))
}

/// `GET /{name}/{id}`.
pub(in crate::http) async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = app.store.view(entity(&app)?, &id).await.map_err(|error| Problem::store_away(&error))?;
    found.map(Json).ok_or_else(|| nothing(&app))
}

/// `GET /{name}/{id}/events`: the last events of the key, oldest first, with what became of each.
pub(in crate::http) async fn history(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let ring = app.store.ring(ring_key_of(id.as_bytes())).await.map_err(|error| Problem::store_away(&error))?;
    let ring = Ring::from_bytes(ring.ok_or_else(|| nothing(&app))?)
        .map_err(|unreadable| Problem::store_away(&StoreError::Unusable(unreadable.to_string())))?;
    let events = ring.iter().map(
        |entry| json!({"eventId": entry.id, "eventName": entry.name, "outcome": entry.fate.as_str(), "at": entry.at}),
    );
    Ok(Json(events.collect()))
}

fn read(parameters: Vec<(String, String)>, filters: &[&str]) -> Result<Page, Problem> {
    let mut page = Page { limit: LIMIT, ..Page::default() };
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in parameters {
        if seen.contains(&name) {
            return Err(bad(format!("the parameter `{name}` stands twice")));
        }
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                page.limit = limit.ok_or_else(|| bad(format!("`limit` is a number from 1 to {MOST}")))?;
            }
            "after" => page.after = Some(value),
            _ if filters.contains(&name.as_str()) => page.filters.push((name.clone(), value)),
            _ => {
                let known: Vec<&str> = ["limit", "after"].into_iter().chain(filters.iter().copied()).collect();
                return Err(bad(format!("there is a parameter that is unknown here; there are {}", known.join(", "))));
            }
        }
        seen.push(name);
    }
    Ok(page)
}

fn entity(app: &App) -> Result<EntityType, Problem> {
    app.dispatcher.entities.first().copied().ok_or_else(|| nothing(app))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn nothing(app: &App) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("nothing in {} has this id", app.dispatcher.name))
}
