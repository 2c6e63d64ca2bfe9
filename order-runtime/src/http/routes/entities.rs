//! The read model of an entity.

use axum::{
    Json,
    extract::{OriginalUri, Path, Query, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    documents::Parameter,
    http::{App, problem::Problem, readers},
    identity::{DedupWindow, window_key_of},
    store::{EntityType, Listed, Page, StoreError},
};

/// Default number of entities of a page.
const LIMIT: usize = 100;
/// Maximum number of entities of a page.
const MOST: usize = 1000;
/// A page ends after the entity that reaches this size, in bytes.
const PAGE_BYTES: usize = 1024 * 1024;
/// Maximum number of entities that are read at a time.
const PIECE: usize = 32;

/// The query parameters of the page, for the OpenAPI document.
pub(super) fn parameters(filters: &[&str]) -> Vec<Parameter> {
    let parameter = |name: &str, kind: &str, about: &str| Parameter {
        name: name.to_owned(),
        about: about.to_owned(),
        kind: kind.to_owned(),
    };
    let filters = filters.iter().map(|name| parameter(name, "string", "Only entities with this value."));
    [
        parameter(
            "limit",
            "integer",
            "Maximum number of entities, from 1 to 1,000; 100 by default. A page of 1 MiB ends earlier.",
        ),
        parameter("after", "string", "The page starts after this id."),
    ]
    .into_iter()
    .chain(filters)
    .collect()
}

/// `GET /{table}?limit=&after=` and the entity's filters: an array in the order of ids. If more may follow, the header `Link` has
/// the address of the next page.
pub(super) async fn page(
    entity: EntityType,
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    query: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(parameters) = query.map_err(|_| Problem::bad_request("the query is malformed"))?;
    let asked = read(parameters, entity.filters)?;
    let permit = readers::permit(&app).await?;
    let (body, last) = pieces(&app, entity, asked.clone()).await?;
    drop(permit);
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    if let Some(last) = last {
        let next = next(uri.path(), &Page { after: Some(last), ..asked });
        response.headers_mut().extend(next.map(|next| (header::LINK, next)));
    }
    Ok(response)
}

/// A page as JSON, and its last id if more may follow. The entities are read in pieces, and each piece is written before the next
/// is read, because a page of the largest entities would take a thousand times their size in memory.
async fn pieces(app: &App, entity: EntityType, asked: Page) -> Result<(Vec<u8>, Option<String>), Problem> {
    let mut body = b"[".to_vec();
    let (mut left, mut after) = (asked.limit, asked.after);
    loop {
        let page = Page { limit: PIECE.min(left), after: after.clone(), filters: asked.filters.clone() };
        let wanted = page.limit;
        let rows = app.store.page(entity, page).await.map_err(|error| Problem::store_unavailable(&error))?;
        let is_last = rows.len() < wanted;
        for Listed { id, view } in rows {
            if body.len() >= PAGE_BYTES {
                return Ok((closed(body), after));
            }
            if body.len() > 1 {
                body.push(b',');
            }
            serde_json::to_writer(&mut body, &view)
                .map_err(|error| Problem::store_unavailable(&StoreError::Unusable(error.to_string())))?;
            after = Some(id);
            left -= 1;
        }
        if is_last || left == 0 || body.len() >= PAGE_BYTES {
            return Ok((closed(body), after.filter(|_| !is_last)));
        }
    }
}

fn closed(mut body: Vec<u8>) -> Vec<u8> {
    body.push(b']');
    body
}

/// The header that names the next page (RFC 8288).
fn next(path: &str, page: &Page) -> Option<HeaderValue> {
    let limit = page.limit.to_string();
    let fixed = [("limit", limit.as_str()), ("after", page.after.as_deref().unwrap_or_default())];
    let filters = page.filters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fixed.into_iter().chain(filters)).finish();
    HeaderValue::try_from(format!("<{path}?{query}>; rel=\"next\"")).ok()
}

/// `GET /{table}/{id}`.
pub(super) async fn one(
    entity: EntityType,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let found = app.store.view(entity, &id).await.map_err(|error| Problem::store_unavailable(&error))?;
    found.map(Json).ok_or_else(|| nothing(entity))
}

/// `GET /{table}/{id}/events`: the last events of the key with their outcomes, oldest first.
pub(super) async fn history(
    entity: EntityType,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let window =
        app.store.window(window_key_of(id.as_bytes())).await.map_err(|error| Problem::store_unavailable(&error))?;
    let window = DedupWindow::from_bytes(window.ok_or_else(|| nothing(entity))?)
        .map_err(|unreadable| Problem::store_unavailable(&StoreError::Unusable(unreadable.to_string())))?;
    let events = window.iter().map(
        |entry| json!({"eventId": entry.id, "eventName": entry.name, "outcome": entry.outcome.as_str(), "at": entry.at}),
    );
    Ok(Json(events.collect()))
}

fn read(parameters: Vec<(String, String)>, filters: &[&str]) -> Result<Page, Problem> {
    let mut page = Page { limit: LIMIT, ..Page::default() };
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in parameters {
        if seen.contains(&name) {
            return Err(Problem::bad_request(format!("the parameter `{name}` is given twice")));
        }
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                page.limit =
                    limit.ok_or_else(|| Problem::bad_request(format!("`limit` must be a number from 1 to {MOST}")))?;
            }
            "after" => page.after = Some(value),
            _ if filters.contains(&name.as_str()) => page.filters.push((name.clone(), value)),
            _ => {
                let known: Vec<&str> = ["limit", "after"].into_iter().chain(filters.iter().copied()).collect();
                return Err(Problem::bad_request(format!(
                    "the query has an unknown parameter; known ones are {}",
                    known.join(", ")
                )));
            }
        }
        seen.push(name);
    }
    Ok(page)
}

fn nothing(entity: EntityType) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("{} has no entity with this id", entity.table))
}
