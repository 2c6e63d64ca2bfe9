//! HTTP routes, as <https://spec.openapis.org/oas/v3.1.0> describes them.

use serde_json::{Map, Value, json};

use super::{Declared, events::Definitions};

/// One route.
struct Route {
    method: &'static str,
    path: String,
    summary: &'static str,
    /// Parameters of the query: name and meaning.
    query: &'static [(&'static str, &'static str)],
    /// Statuses beside 200 and what they mean.
    answers: &'static [(&'static str, &'static str)],
    /// For administrators.
    guarded: bool,
}

fn get(path: String, summary: &'static str) -> Route {
    Route { method: "get", path, summary, query: &[], answers: &[], guarded: false }
}

fn post(path: String, summary: &'static str) -> Route {
    Route { method: "post", guarded: true, ..get(path, summary) }
}

fn routes(name: &str, has_entities: bool) -> Vec<Route> {
    let unfit: &[_] = &[("503", "It is not; the body says why.")];
    let mut routes = vec![
        Route { answers: unfit, ..get("/health".to_owned(), "Whether the service moves and is fit for work.") },
        Route { answers: unfit, ..get("/health/live".to_owned(), "Whether the service moves.") },
        Route { answers: unfit, ..get("/health/ready".to_owned(), "Whether the service is fit for work.") },
        get("/metrics".to_owned(), "Metrics for Prometheus, in its text format or in OpenMetrics."),
        get("/stats".to_owned(), "Counters since the start."),
        get("/processors".to_owned(), "The declared processors and their counters."),
        get("/partitions".to_owned(), "The assigned partitions, and why one does not move."),
        get("/openapi.json".to_owned(), "This document."),
        get("/asyncapi.json".to_owned(), "The topics and their messages."),
        get("/docs".to_owned(), "Routes and events, for people."),
        Route {
            query: &[("key", "The key of all events; else each has the id that its data names.")],
            answers: &[
                ("202", "All are published; the body has their ids."),
                ("422", "Nothing is published; the body names everything that is wrong, by JSON path."),
            ],
            ..post("/events".to_owned(), "Checks and publishes one event or an array of at most 1,000.")
        },
        post("/consumer/pause".to_owned(), "Stops taking records."),
        post("/consumer/resume".to_owned(), "Takes records again; a stopped partition tries again, too."),
        Route { guarded: true, ..get("/waiting".to_owned(), "Keys that wait: why, until when.") },
        post("/waiting/retry".to_owned(), "Tries waiting keys now."),
        post("/waiting/dead-letter".to_owned(), "Dead-letters the first event of waiting keys."),
    ];
    if has_entities {
        let unknown: &[_] = &[("404", "There is none of that id.")];
        routes.push(Route {
            query: &[("limit", "How many at most."), ("after", "The id behind which the page begins.")],
            ..get(format!("/{name}"), "A page of entities as they are now, by id.")
        });
        routes.push(Route { answers: unknown, ..get(format!("/{name}/{{id}}"), "One entity as it is now.") });
        routes.push(Route {
            answers: unknown,
            ..get(format!("/{name}/{{id}}/events"), "Its last events, and what became of each.")
        });
    }
    routes
}

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
    for route in routes(declared.dispatcher.name, !declared.dispatcher.entities.is_empty()) {
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
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer", "description": "APP_ADMIN_TOKEN"}},
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route
        .query
        .iter()
        .map(|(name, about)| json!({"name": name, "in": "query", "description": about, "schema": {"type": "string"}}))
        .collect();
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
    if route.guarded {
        operation["security"] = json!([{"admin": []}]);
        operation["responses"]["401"] = json!({"description": "No token, or a wrong one.", "content": problem});
    }
    if route.path == "/events" {
        let event = json!({"$ref": "#/components/schemas/Event"});
        let body = json!({"oneOf": [event, {"type": "array", "maxItems": 1000, "items": event}]});
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": body}}});
    }
    operation
}
