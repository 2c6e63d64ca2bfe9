//! Query parameters and JSON bodies, read as the types that the operations declare. Names that a type does not have are refused,
//! because a misspelt condition must not select everything.

use axum::{extract::FromRequestParts, http::request::Parts};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{App, problem::Problem};
use crate::documents::{Parameter, parameters};

/// The query of a request, read as `T`.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema> FromRequestParts<App> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        query(parts.uri.query().unwrap_or_default()).map(Self).map_err(Problem::bad_request)
    }
}

fn query<T: DeserializeOwned + JsonSchema>(query: &str) -> Result<T, String> {
    // Most requests have no query, and need no schema.
    let declared = if query.is_empty() { Vec::new() } else { parameters::<T>() };
    let mut object = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(parameter) = declared.iter().find(|parameter| parameter.name == name) else {
            return Err(match declared.as_slice() {
                [one] => format!("the only parameter is `{}`", one.name),
                _ => format!("the parameters are {}", names(&declared)),
            });
        };
        let value =
            typed(&parameter.kind, &value).ok_or_else(|| format!("`{name}` must be of the type {}", parameter.kind))?;
        if object.insert(name.clone().into_owned(), value).is_some() {
            return Err(format!("`{name}` is given twice"));
        }
    }
    serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
}

/// The text of a query as a value of a JSON Schema type.
fn typed(kind: &str, text: &str) -> Option<Value> {
    match kind {
        "boolean" => text.parse().ok().map(Value::Bool),
        "integer" => text.parse::<u64>().ok().map(Value::from),
        _ => Some(Value::from(text)),
    }
}

/// Reads a JSON object as `T`; an empty body is an empty object.
pub(super) fn body<T: DeserializeOwned + JsonSchema>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let object: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Problem::bad_request("the body is not a JSON object"))?;
    let declared = parameters::<T>();
    if !object.keys().all(|name| declared.iter().any(|member| member.name == *name)) {
        let known = names(&declared);
        return Err(Problem::bad_request(format!("the body has an unknown member; known ones are {known}")));
    }
    serde_json::from_value(Value::Object(object)).map_err(|error| Problem::bad_request(error.to_string()))
}

fn names(declared: &[Parameter]) -> String {
    declared.iter().map(|parameter| parameter.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::{LetterReplay, ListRequest};

    #[test]
    fn a_query_is_read_as_its_type_declares() {
        let read: ListRequest = query("reason=re%20jected&parked=true&max=7&all=false&before=1.2").expect("a request");
        assert_eq!((read.filter.reason.as_deref(), read.filter.parked, read.all), (Some("re jected"), true, false));
        assert_eq!((read.max, read.before.map(|before| before.to_string())), (7, Some("1.2".to_owned())));
        for (wrong, expected) in [
            ("reasons=x", "the parameters are "),
            ("max=many", "`max` must be of the type integer"),
            ("parked=1", "`parked` must be of the type boolean"),
            ("event=a&event=b", "`event` is given twice"),
            ("since=yesterday", "expected a time"),
            ("before=last", "expected the value of `next`"),
        ] {
            let error = query::<ListRequest>(wrong).expect_err(wrong);
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_body_has_the_members_of_its_type_only() {
        let read: LetterReplay =
            body(br#"{"ids": ["a"], "reason": "b", "rate": 5, "maxReplays": 2}"#).expect("a request");
        assert_eq!((read.selection.ids, read.selection.filter.reason), (vec!["a".to_owned()], Some("b".to_owned())));
        assert_eq!((read.rate, read.max_replays), (Some(5.0), 2));
        for wrong in [&br#"{"reasons": "b"}"#[..], br#"{"rate": 0}"#, br#"{"note": "n"}"#, b"[]", b"{"] {
            assert!(body::<LetterReplay>(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
