//! What is answered.

mod consumer;
mod dlq;
mod documents;
mod entities;
mod events;
mod health;
mod metrics;
mod route;
mod stats;
mod waiting;

use axum::{Router, routing};

use self::route::Route;
use super::{App, layers, page};
use crate::{
    dispatcher::Dispatcher,
    documents::{Audience, RouteDescription},
};

/// All routes, without layers.
pub(super) fn all(app: &App) -> Router {
    let mut routes = Router::new();
    for audience in [Audience::Open, Audience::Viewers, Audience::Administrators] {
        let of_audience = table(&app.dispatcher).into_iter().filter(|route| route.description.audience == audience);
        let of_audience = of_audience.fold(Router::new(), |router, route| route.onto(router));
        routes = routes.merge(layers::within(of_audience, app, audience));
    }
    // Parts of the page, and nobody else's: no document has them.
    routes.route("/page/assets/{version}/{*name}", routing::get(page::asset)).with_state(app.clone())
}

/// All routes that somebody outside may rely on: what is served, and what the OpenAPI document says of it.
fn table(dispatcher: &Dispatcher) -> Vec<Route> {
    let mut routes = operation();
    let mut reads = activity();
    if let Some(entity) = dispatcher.entities.first() {
        reads.extend(read_model(dispatcher.name, entity.filters));
    }
    routes.extend(reads.into_iter().map(|route| route.of(Audience::Viewers)));
    let administration = administration().into_iter().chain(dead_letters());
    routes.extend(administration.map(|route| route.of(Audience::Administrators)));
    routes
}

/// What a document says of the routes.
pub(crate) fn described(dispatcher: &Dispatcher) -> Vec<RouteDescription> {
    table(dispatcher).into_iter().map(|route| route.description).collect()
}

/// What the service says of itself.
fn operation() -> Vec<Route> {
    let unfit: &[_] = &[("503", "It is not; the body says why.")];
    vec![
        Route::get("/", "The operator's page.", page::index),
        Route::get("/health", "Whether the service moves and is fit for work.", health::all).answers(unfit),
        Route::get("/health/live", "Whether the service moves.", health::live).answers(unfit),
        Route::get("/health/ready", "Whether the service is fit for work.", health::ready).answers(unfit),
        Route::get("/metrics", "Metrics for Prometheus, in its text format or in OpenMetrics.", metrics::prometheus),
        Route::get("/openapi.json", "This document.", documents::openapi),
        Route::get("/asyncapi.json", "The topics and their messages.", documents::asyncapi),
        Route::get("/docs", "Routes and events, for people.", documents::page),
    ]
}

/// What the service is doing.
fn activity() -> Vec<Route> {
    vec![
        Route::get("/page/live", "What the page listens to: server-sent events, one a second.", page::live)
            .answers(&[("503", "As many pages are open as may be.")]),
        Route::get("/stats", "Counters since the start.", stats::stats),
        Route::get("/processors", "The declared processors and their counters.", stats::processors),
        Route::get("/partitions", "The assigned partitions, and why one does not move.", stats::partitions),
    ]
}

/// What changes something, or shows keys.
fn administration() -> Vec<Route> {
    vec![
        Route::post("/events", "Checks and publishes one event or an array of at most 1,000.", events::publish)
            .query::<events::Parameters>()
            .answers(&[
                ("202", "All are published; the body has their ids."),
                ("422", "With `errors`, nothing is published; they name what is wrong, by JSON path: every broken rule, or the first member of an event that cannot be decoded. Without them the topic refuses an event, and others of the request may be published."),
            ]),
        Route::post("/consumer/pause", "Stops taking records.", consumer::pause),
        Route::post("/consumer/resume", "Takes records again; a stopped partition tries again, too.", consumer::resume),
        Route::get("/waiting", "Keys that wait: why, until when.", waiting::list).query::<waiting::Parameters>(),
        Route::post("/waiting/retry", "Tries waiting keys now.", waiting::retry),
        Route::post(
            "/waiting/dead-letter",
            "Dead-letters the first event of waiting keys; of a topic that no instance reads, all its waiting events.",
            waiting::dead_letter,
        )
        .answers(&[("409", "The topic has no waiting events without an owner, or another instance reads it.")]),
    ]
}

fn dead_letters() -> Vec<Route> {
    let one: &[_] = &[("404", "There is none of that id.")];
    let begun: &[_] = &[
        ("202", "It has begun; `location` says where to ask how far it is. With `dryRun` it counts only."),
        ("400", "The body selects nothing, or says something that is not known."),
        ("409", "Another of its kind is under way."),
    ];
    let no_job: &[_] = &[("404", "This instance knows none of that id.")];
    vec![
        Route::get("/dlq", "Dead letters, and how many of each kind there are.", dlq::list).query::<dlq::Parameters>(),
        Route::get("/dlq/{id}", "One dead letter, and what this build would do with it.", dlq::show)
            .query::<dlq::Whereabouts>()
            .answers(one),
        Route::get("/dlq/audit", "What operators have done, the latest first.", dlq::audit),
        Route::get("/dlq/replay", "How far the last replay of this instance is.", dlq::replay_state)
            .answers(&[("404", "Nothing was replayed yet.")]),
        Route::post("/dlq/replay", "Sends dead letters to the topics that they came from.", dlq::replay).answers(begun),
        Route::delete("/dlq/replay", "Ends the replay after the batch under way.", dlq::stop_replay)
            .answers(&[("404", "Nothing was replayed yet.")]),
        Route::post("/dlq/{id}/edit", "Checks a corrected event and sends it as a replay.", dlq::edit)
            .query::<dlq::Whereabouts>()
            .answers(&[
                ("404", "There is none of that id."),
                ("409", "It was dealt with already."),
                ("422", "It is still wrong; the body says how, by JSON path."),
            ]),
        Route::post("/dlq/park", "Sets dead letters aside.", dlq::park).answers(begun),
        Route::post("/dlq/unpark", "Takes parked dead letters back.", dlq::unpark).answers(begun),
        Route::post("/dlq/purge", "Forgets dead letters.", dlq::purge).answers(begun),
        Route::get(
            "/dlq/jobs",
            "Replays, settings aside and counts of this instance, the latest first.",
            dlq::all_jobs,
        ),
        Route::get("/dlq/jobs/{id}", "How far one of them is.", dlq::job).answers(no_job),
        Route::delete("/dlq/jobs/{id}", "Ends one after the letters under way.", dlq::stop_job).answers(no_job),
    ]
}

/// The first entity of the domain.
fn read_model(name: &str, filters: &[&str]) -> [Route; 3] {
    let unknown: &[_] = &[("404", "There is none of that id.")];
    let page = Route::get(&format!("/{name}"), "A page of entities as they are now, by id.", entities::page)
        .parameters(entities::parameters(filters));
    [
        page,
        Route::get(&format!("/{name}/{{id}}"), "One entity as it is now.", entities::one).answers(unknown),
        Route::get(&format!("/{name}/{{id}}/events"), "Its last events, and what became of each.", entities::history)
            .answers(unknown),
    ]
}
