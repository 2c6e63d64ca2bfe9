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
    routes.extend(dead_letters());
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

fn dead_letters() -> [Route; 10] {
    let guarded = |path: &str, summary| Route { guarded: true, ..get(path.to_owned(), summary) };
    let one: &[_] = &[("404", "There is none of that id.")];
    [
        Route {
            query: &[
                ("event", "Only those of this event."),
                ("reason", "Only those with this reason."),
                ("code", "Only those with this error code."),
                ("key", "Only those under this key."),
                ("since", "Only those written since then: RFC 3339, or a time ago such as 2h."),
                ("until", "Only those written before then."),
                ("parked", "`true` for those that are parked."),
                ("all", "`true` for all, whatever became of them."),
                ("max", "How many to list, the latest of them; all are counted."),
            ],
            ..guarded("/dlq", "Dead letters, and how many of each kind there are.")
        },
        Route { answers: one, ..guarded("/dlq/{id}", "One dead letter, and what this build would do with it.") },
        guarded("/dlq/audit", "What operators have done with dead letters, the latest first."),
        guarded("/dlq/replay", "How far the last replay of this instance is."),
        Route {
            answers: &[
                ("202", "It has begun; with `dryRun` it is 200, and counts only."),
                ("409", "Another is under way."),
            ],
            ..post("/dlq/replay".to_owned(), "Sends dead letters to the topics that they came from.")
        },
        Route { method: "delete", ..guarded("/dlq/replay", "Ends the replay after the batch under way.") },
        Route {
            answers: &[
                ("404", "There is none of that id."),
                ("409", "It was dealt with already."),
                ("422", "It is still wrong; the body says how, by JSON path."),
            ],
            ..post("/dlq/{id}/edit".to_owned(), "Checks a corrected event and sends it as a replay.")
        },
        post("/dlq/park".to_owned(), "Sets dead letters aside."),
        post("/dlq/unpark".to_owned(), "Takes parked dead letters back."),
        post("/dlq/purge".to_owned(), "Forgets dead letters."),
    ]
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
