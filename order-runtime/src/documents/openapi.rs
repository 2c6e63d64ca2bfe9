//! The OpenAPI document of the HTTP routes: <https://spec.openapis.org/oas/v3.1.0>.

use serde_json::{Map, Value, json};

use super::{Audience, Declared, Parameter, RouteDescription, events::Definitions};

pub(super) fn document(declared: &Declared<'_>) -> Value {
    let mut definitions = Definitions::of(declared.registry, "#/components/schemas/");
    let events: Vec<Value> = definitions.events.iter().map(|name| definitions.reference(name)).collect();
    definitions.schemas.insert("Event".to_owned(), json!({"oneOf": events}));
    definitions.schemas.insert(
        "Problem".to_owned(),
        json!({
            "type": "object",
            "description": "An error, by RFC 9457.",
            "required": ["title", "status"],
            "properties": {
                "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
                "errors": {"type": "array", "items": {"type": "object"}},
            },
        }),
    );
    let mut paths: Map<String, Value> = Map::new();
    for route in (declared.routes)(declared.dispatcher) {
        let operation = operation(&route);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": declared.config.app.name, "version": declared.dispatcher.version},
        "paths": paths,
        "components": {
            "schemas": definitions.schemas,
            "securitySchemes": {
                "admin": {"type": "http", "scheme": "bearer", "description": "APP_ADMIN_TOKEN"},
                "viewer": {"type": "http", "scheme": "bearer", "description": "APP_VIEWER_TOKEN"},
            },
        },
    })
}

fn operation(route: &RouteDescription) -> Value {
    let mut parameters: Vec<Value> = route.query.iter().map(Parameter::document).collect();
    if route.path.contains("{id}") {
        parameters.push(json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}));
    }
    let problem = json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    let mut responses = Map::new();
    if !route.answers.iter().any(|(status, _)| status.starts_with('2')) {
        responses.insert("200".to_owned(), json!({"description": "The answer."}));
    }
    for (status, about) in route.answers {
        let mut response = json!({"description": about});
        if status.starts_with('4') {
            response["content"] = problem.clone();
        }
        responses.insert((*status).to_owned(), response);
    }
    let mut operation = json!({"summary": route.summary, "responses": responses});
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let security = match route.audience {
        Audience::Open => None,
        Audience::Viewers => Some(json!([{"viewer": []}, {"admin": []}, {}])),
        Audience::Administrators if route.method == "get" => Some(json!([{"viewer": []}, {"admin": []}])),
        Audience::Administrators => Some(json!([{"admin": []}])),
    };
    if let Some(security) = security {
        operation["security"] = security;
        operation["responses"]["401"] = json!({"description": "No token, or a wrong one.", "content": problem});
    }
    if route.path == "/events" {
        let event = json!({"$ref": "#/components/schemas/Event"});
        let body = json!({"oneOf": [event, {"type": "array", "maxItems": 1000, "items": event}]});
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": body}}});
    }
    operation
}
